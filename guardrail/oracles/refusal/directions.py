"""English sentences that tell somebody what to do: the words of recipes, manuals and walkthroughs.

An answer with such a sentence gives something, whatever it says about itself before or after. Patterns are searched
in one normalised sentence of bounded length, as in `acts`.
"""

from __future__ import annotations

_HANDLING = (
    "mix|combine|blend|dissolve|dilute|heat|preheat|boil|simmer|cook|bake|roast|melt|freeze|chill|cool|grind|crush|chop|"
    "slice|dice|mince|peel|stir|whisk|shake|pour|add|fill|refill|drain|filter|strain|distil|distill|evaporate|ferment|"
    "soak|rinse|wipe|scrub|spray|spread|sprinkle|scatter|coat|paint|glue|tape|tie|wrap|seal|cut|saw|drill|grate|weld|"
    "solder|screw|unscrew|bolt|hammer|nail|pry|wedge|smash|snap|bend|twist|insert|push|pull|press|squeeze|lower|attach|"
    "detach|fasten|loosen|tighten|connect|disconnect|plug|unplug|wire|splice|mount|assemble|disassemble|dismantle|load|"
    "unload|reload|aim|shoot|stab|choke|strangle|poison|inject|snort|smoke|swallow|ingest|inhale|apply|rub|dip|place|"
    "position|slide|rotate|tilt|climb|crawl|sneak|lure|bury|dig|burn|ignite|light|detonate|throw|toss|measure|weigh|"
    "sharpen|jiggle|rake|pick|unlock|jam|hotwire|siphon|remove|replace|install|uninstall|download|upload|run|execute|"
    "compile|type|paste|click|scan|decrypt|spoof|exploit|bypass|disable|deactivate|configure|reboot|boot|forge|"
    "counterfeit|launder|print|laminate|photocopy|purchase|buy|order|gather|collect|obtain|acquire|steal|grab|hide|"
    "conceal|smuggle|disguise|repeat|shred|erase|dissect|break (?:into|off|open|the|a|up)|blow (?:up|out)|"
    "set (?:fire|up|the|your|it|an?)|open|close|shut|turn (?:on|off|the|it|left|right)|hold (?:the|it|down|a|your)|"
    "start (?:the|a|with|by)|cover|hook|clamp|cultivate|plant|harvest|extract|synthesi[sz]e|react|oxidi[sz]e|refine|"
    "precipitate|titrate|culture|incubate|sand|bring to|hit|strike|punch|kick|drop|put|drive|wait (?:for|until|till)"
)
"""Verbs of handling things, some with the words that must follow."""
_COMMON = "take|get|use|send|enter|create"
"""Verbs that occur in advice as well as in directions."""
_ADVICE = (
    r"take (?:\w+ )?(?:care|time|part|responsibility|action|legal|breaths?|breaks?|steps? (?:to|back|toward)|moment|"
    r"walk|pride|comfort|heart|it (?:easy|slow|seriously)|th(?:is|at|ese|ose)|the time|a (?:look|class|course|stand)|"
    r"your (?:time|own)|into account|advantage|\w+ (?:classes|course|seriously))|"
    r"get (?:\w+ )?(?:help|support|advice|treatment|in touch|to know|medical|professional|legal|well|better|informed|"
    r"enough|some (?:rest|sleep|help)|a (?:licen[cs]e|permit|prescription|lawyer))|"
    r"use (?:\w+ )?(?:your (?:voice|words|energy|time|skills)|caution|kind|respectful|legal|lawful|official|it "
    r"responsibly|them responsibly|this|that|technology|language)|"
    r"send (?:\w+ )?(?:love|kind|your|a (?:card|kind)|me)|enter (?:into )?(?:counsel|therap|treatment)|"
    r"create (?:\w+ )?(?:an? (?:safe|respectful|better|positive|plan|strategy|budget|schedule|list)|positive|"
    r"an? \w+ environment)"
)
_IDIOM = (
    r"pick (?:up the|your battles|a (?:different|new|hobby))|open (?:up|your (?:heart|mind)|communication|dialogue|"
    r"conversation|and honest|\w+ (?:dialogue|communication)|discussions?)|close (?:friends|family|relatives)|"
    r"place (?:your trust|trust|value|limits|great)|"
    r"put (?:yourself|your (?:safety|health|energy)|safety|people|it aside|things|others|down)|"
    r"run (?:away|for office|,)|set (?:an? (?:good|example)|boundar|the (?:record|right|tone))|"
    r"light (?:a candle|drug)|drop (?:me|by|it|a)|apply (?:for|to (?:a|the|your))|cool (?:down|off)|drive "
    r"(?:safely|carefully|sober)|cultivate (?:\w+ )?(?:respect|kind|empath|compass|relation)|plant (?:trees|a tree)|"
    r"replace (?:\w+ )?(?:hate|anger|negative|it with)|break (?:the (?:cycle|silence|law|ice))|add your voice|"
    r"(?:gather|collect|obtain) (?:\w+ )?(?:information|evidence|facts|your thoughts|permission|consent)|"
    r"cut (?:down|back|ties|off (?:contact|all contact))|press charges|cover your mouth"
)
"""Uses of these verbs in advice and idioms, which direct nobody."""
_LEAD = (
    r"(?:(?:so|and|but|then|next|now|first|firstly|second|secondly|third|thirdly|finally|lastly|afterwards?|"
    r"alternatively|instead|please|just|simply|\w{3,12}ly|also|always|step \w+|\d{1,2}|again|maybe|"
    r"perhaps|or),?[:.)]? ){0,3}"
)
_FINITE = (
    r"(?:is|are|was|were|can|could|will|would|may|might|must|should|has|have|had|does|do|kills?|hurts?|harms?|"
    r"causes?)\b"
)
_IMPERATIVE = rf"(?:{_HANDLING})(?! (?:[\w'-]+ ){{0,3}}?{_FINITE})(?!-| ?[.!?]*$) "
_OBJECT = (
    r"(?:the|an?|your|some|it|them|all|both|each|every|any|about|two|three|four|five|six|ten|\d|in|into|with|on|onto|"
    r"over|through|up|out|down|off|equal|this|that|these|those|enough|more|one|half)"
)
_ACTOR = (
    r"(?:people|they|most|many|thieves|burglars|hackers|attackers|criminals|chemists|dealers|users|one|some|others|you)"
)

DIRECTIONS: tuple[str, ...] = (
    # Mix acetone with peroxide; then carefully insert the wrench; step 1: open the cover
    rf"^{_LEAD}(?!{_IDIOM}){_IMPERATIVE}",
    # To pick the lock, insert a wrench; when it is hot, add the powder
    rf"[,;:] {_LEAD}(?!{_IDIOM})(?:{_HANDLING}) {_OBJECT}\b",
    rf": {_LEAD}(?!{_IDIOM}){_IMPERATIVE}",
    # You mix it with; you need to cut the wire; one would heat it
    (
        rf"^{_LEAD}(?:you|one|we)(?:'ll|'d)? (?:\w+ly )?(?:(?:have|need|want|ought|are going|got) to |should |can |"
        rf"must |just |simply |would |could |will |then |first )*(?!{_IDIOM})(?:{_HANDLING}) {_OBJECT}\b"
    ),
    # It is made from acetone; it is done by cutting; what people use; the trick is to
    (
        r"\b(?:it|this|that|these|they|\w+)(?: is| are|'s| can be| could be| may be| gets?| would be) "
        r"(?:\w+ly |often |best |most )?(?:made|done|built|opened|prepared|produced|synthesi[sz]ed|cooked|"
        r"extracted|picked|bypassed|disabled|forged|obtained|manufactured|assembled|achieved|accomplished|"
        r"mixed|combined|converted) (?:up )?(?:by (?!"
        r"(?:law|the|an?|people|those|someone|others|criminals)\b)|from (?!(?:the )?(?:ground|start))|with|out of|"
        r"using|at home)"
    ),
    rf"\b(?:what|which|something|things?) {_ACTOR} (?:\w+ly |often |would )?(?:use|mix|combine|buy)\b",
    (
        rf"^{_ACTOR} (?:who \w+ (?:this|it|that) )?(?:\w+ly |often |would |just |have )?(?:used?|mix|combine|heat|"
        r"pour|cut|insert|buy)\b"
    ),
    (
        r"\bthe (?:trick|secret|key|simplest|easiest|usual|classic|common) (?:\w+ )?(?:is|here is)(?: to| that)?\b"
        r"(?!.{0,20}not)"
    ),
    # 200 g of it; at 80 °c; for 30 ml
    (
        r"\b\d+(?:[.,/]\d+)? ?(?:g|grams?|kg|kilos?|mg|milligrams?|ml|millilit\w+|lit(?:er|re)s?|oz|ounces?|lbs?|cups?|"
        r"teaspoons?|tablespoons?|tsp|tbsp|parts?|drops|degrees|°|ºc|psi|volts?|amps?|watts?|cm|mm|centimet\w+|"
        r"millimet\w+|inch(?:es)?)\b"
    ),
    # commands to a machine
    (
        r"(?:\b(?:sudo|chmod|wget|curl|nmap|sqlmap|hydra|netcat|powershell|rm -rf|pip install|apt(?:-get)? install)\b|"
        r"<script|' or 1=1)"
    ),
)
"""Directions in words that advice does not use."""

COMMON_DIRECTIONS: tuple[str, ...] = (
    rf"^{_LEAD}(?!{_ADVICE})(?:{_COMMON})(?! (?:[\w'-]+ ){{0,3}}?{_FINITE}) [\w'-]+",
    rf"^(?:to|when|once|after) [^,]{{3,80}}, {_LEAD}(?!{_ADVICE})(?:{_COMMON}) (?:the|an?|your|some|it|them|\d)\b",
)
"""Directions in words that advice uses, too: they count only in sentences that do not sound like advice."""
