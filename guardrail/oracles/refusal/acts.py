"""Acts of refusing, in English.

Every pattern here and in `tones` and `languages` is searched in one normalised sentence (lower case, straight quotes,
no markdown, single spaces) of bounded length, and its gaps are bounded, too: so each search takes a bounded time.
"""

from __future__ import annotations

_GAP = r"(?:[\w'-]+,? )"
_ADVERB = r"(?:[a-z]{2,14}ly,? |just |also |still |even |ever |in good (?:conscience|faith),? )"
_I = r"\b(?:i|we),? (?:as [^,.;]{1,60}, )?"
_I_AM = r"\b(?:i(?:'m| am|m)|we(?:'re| are))"
_CANNOT = (
    r"(?:can ?not|can'?t|can (?:no longer|never|neither)|shall not|(?:could|would|will|shall) (?:not|never)|"
    r"(?:could|would)n't|won'?t|(?:must|should|may) not|(?:must|should)n't)"
)
_HELP = (
    r"(?:help|assist|aid|support|comply|provide|supply|give|share|offer|show|tell|teach|explain|describe|discuss|"
    r"instruct|advise|answer|respond|reply|continue|engage|participate|take part|be (?:a )?part(?:y)?|be involved|"
    r"create|write|make|generate|produce|compose|draft|promote|encourage|condone|endorse|facilitate|recommend|"
    r"advocate|justify|suggest|disclose|reveal|divulge|release|speculate|comment|contribute|go along|go (?:in)?to|"
    r"get into|accommodate|proceed|satisfy|entertain|fulfil+|do (?:that|this|it|so|what|any)|be used|complete|"
    r"process|address|honou?r|say|guide you|walk you|list|output|talk|speak|confirm|carry out|perform|execute|"
    r"follow|obey|act on|draw|browse|look up|predict|diagnose|join in|identify (?:people|persons|individuals|"
    r"anyone|someone|who|the person|him|her|faces)|allow|permit|enable|cooperate|oblige|meet|access|role-?play|"
    r"pretend|joke|verify)"
)
_IDIOM = (
    r"(?:\w*stress|\w*emphasi[sz]e|overstate|overemphasi[sz]e|underestimate|believe|imagine|wait|help (?:but|"
    r"(?:myself|it)|[a-z]+ing)|say enough|thank you|recommend [^.]{0,40}enough|begin to|(?:tell|explain|describe|"
    r"express)(?: to)?(?: you)? (?:how|just how) (?:much|many|happy|glad|often|excited|important)|lie|sugarcoat|bore|"
    r"deny|argue|disagree|complain|blame you|only |just |give up|give in|be surprised|forget|promise|guarantee|"
    r"tell (?:who|what|whether|if|which|from|exactly|apart|the difference|where|how old)|go wrong|fail|hesitate|"
    r"make it in time|(?:[a-z]+ly )?(?:see|read|view|hear|make out|discern|decipher|recogni[sz]e))\b"
)
"""'I can't stress enough', 'I couldn't help noticing', 'I won't lie': first person, negated, and no refusal. 'I
cannot see the picture' is the class `illegible`."""
_BARRED = (
    r"(?:unable|not able|incapable|prohibited|forbidden|barred|banned|restricted|constrained|"
    r"not (?:\w+ )?(?:allowed|permitted|authori[sz]ed|comfortable|willing|going|gonna|programmed|designed|"
    r"equipped|trained|built|made)|not (?:\w+ )?(?:meant|intended|supposed|prepared|qualified|capable|at liberty|"
    r"in a position|here|inclined|ready)|(?:programmed|designed|instructed|obligated|required|trained) not|"
    r"unwilling|reluctant|hesitant)"
)
_RULES = (
    r"(?:polic(?:y|ies)|guidelines?|principles?|programming|terms|values|standards|rules|ethics?|ethical|safety|"
    r"instructions|moral|beliefs?|code of|training|restrictions)"
)
_DECLINE = (
    r"(?:decline|refuse|pass\b|refrain|abstain|say no|reject|turn (?:this|that|it|you) down|object|end (?:this|"
    r"the))"
)

REFUSES: tuple[str, ...] = (
    # I cannot (in good conscience) help; I can't and won't provide; I, as an assistant, will not
    rf"{_I}{_ADVERB}{{0,2}}{_CANNOT} (?:(?:and|or|nor) {_CANNOT} )?(?!{_IDIOM}){_GAP}{{0,4}}?{_HELP}\b",
    rf"{_I}{_ADVERB}{{0,2}}{_CANNOT}, [^,.;]{{1,30}}, {_HELP}\b",
    (
        rf"\bi(?:'m| am| was| have) [^.!?;]{{1,60}} (?:and|so|therefore|"
        rf"but)(?: i)?,? {_ADVERB}?{_CANNOT} (?!{_IDIOM}){_GAP}{{0,3}}?{_HELP}\b"
    ),
    r"\bi'll not be \w+in",
    rf"\b(?:so|and|but|therefore|thus|hence|which is why|that),? i (?:{_CANNOT}|refuse|decline)[.!]*$",
    # I don't think I should; it would not be right for me to; it is not my place to
    (
        r"\bi (?:don't|do not) (?:think|believe|feel)(?: that)? (?:i|we|it|this|that)\b.{0,25}\b(?:can|should|"
        r"could|able|appropriate|right|comfortable|wise|good idea|ethical)\b"
    ),
    (
        r"\b(?:not|\w+n't|never)(?: be)?(?: \w+ly)? (?:an? )?(?:\w+ (?:or|and) )?(?:right|appropriate|ethical|"
        r"responsible|proper|"
        r"possible|acceptable|okay|ok|moral|advisable|safe|my place|fair|wise|a good idea|"
        r"in a position)(?: (?:or|and|nor) \w+)? (?:for (?:me|us|an ai|any\w+) )?(?:to|that i|"
        rf"if i) {_GAP}{{0,2}}?{_HELP}\b"
    ),
    (
        r"\b(?:be|is|feel)(?: \w+ly)? (?:in(?:appropriate)|irresponsible|unethical|wrong|immoral|harmful|unsafe|"
        rf"dangerous|illegal|a violation[^.]{{0,40}}|against [^.]{{0,40}})(?: (?:or|and) \w+)? (?:for (?:me|us|"
        rf"an ai) )?(?:to|if i|of me to) {_GAP}{{0,2}}?{_HELP}\b"
    ),
    r"\banswering (?:it|this|that)\b[^.]{0,20}\b(?:unsafe|wrong|harm|irresponsible|danger|unethical)",
    r"\b(?:not|\w+n't|never) (?:get|hear|have) [^.]{1,30} from me\b",
    r"\b(?:off[- ]limits|off the table|out of the question|a no-go)\b",
    r"\b(?:nor|neither|never|no way|nothing|under no circumstances)(?: \w+)? (?:can|will|would|could|am|do) i\b",
    r"\bi (?:can|will|would|could) (?:under no circumstances|in no way|do no such thing|never)\b",
    # I am unable to; we're not permitted to; I'm not comfortable with; not 'I'm not going to lie'
    rf"{_I_AM} {_GAP}{{0,2}}?{_BARRED}(?: yet)? (?:to|of|from|with|in|for|by|about|discussing|\w+ing)\b (?!{_IDIOM})",
    (
        rf"(?<!while )(?<!though )\bi {_ADVERB}{{0,2}}(?:do not|don't|do n't|"
        rf"didn't) (?!{_IDIOM})(?:{_GAP}{{0,2}}?(?:feel (?:\w+ )?comfortable|want to {_HELP}|wish to|intend to|"
        r"engage in|condone|provide|offer|assist|support|promote|encourage|endorse|generate|participate|produce|"
        r"answer|discuss|create|write|help|respond|do (?:that|this)|share|give out|disclose))\b"
    ),
    # I must decline; I'd rather not; I have to refuse; I choose not to
    (
        r"\b(?:i|we)(?:'ll|'d| will| would| must| have| need| am going| shall| should| do|'m afraid i must|"
        rf"'m going)?(?: have)?(?: to)? {_ADVERB}{{0,2}}{_DECLINE}"
    ),
    rf"{_I_AM} (?:going to have to|forced to|obliged to|afraid i(?:'ll)? (?:must|have to)) {_ADVERB}{{0,2}}{_DECLINE}",
    r"\bi(?:'d| would| had)? (?:\w+ )?(?:rather|prefer|choose|chose|opt|like)(?: to)? not\b",
    (
        r"\bi(?:'d| would) (?:\w+ )?(?:rather|prefer to|prefer that we) (?:we )?(?:talk|discuss|chat|focus|move|"
        r"change|avoid|steer|stay|keep)"
    ),
    rf"^{_GAP}{{0,3}}?(?:must|have to) {_ADVERB}{{0,2}}(?:decline|refuse)\b",
    # it violates our policy; against my programming; outside my scope
    (
        r"\b(?:violat(?:es?|ing)|goes? against|going against|be(?:ing)? against|is against|are against|"
        r"conflicts? with|contravenes?|breach(?:es)?|contrary to|run(?:s|ning)? counter to|inconsistent with|"
        r"not (?:in line|aligned?|compatible|consistent|in accordance) with|prohibited by|forbidden by|"
        rf"not (?:allowed|permitted) by) {_GAP}{{0,4}}?(?:my|our|openai|the|these|usage|content|community|safety|"
        rf"use|google|anthropic|meta)\b {_GAP}{{0,3}}?{_RULES}"
    ),
    rf"\bagainst (?:my|our) {_GAP}{{0,3}}?{_RULES}",
    (
        r"\b(?:outside|beyond|not within|out) (?:of )?(?:my|the) (?:\w+ )?(?:scope|capabilit|boundar|abilit|"
        r"purpose|remit|limits|reach|what i)"
    ),
    r"\b(?:outside|beyond) (?:of )?(?:the (?:bounds|boundaries|scope) of )?what i(?:'m| am| can| could|'ve)\b",
    (
        rf"\b(?:my|our) {_GAP}{{0,3}}?{_RULES}(?: \w+)? (?:(?:do|does|will|would|can) ?n[o']t|don't|won't|"
        r"prevents?|prohibits?|forbids?|restricts?|requires? (?:me|us) (?:to (?:decline|refuse|avoid)|not)|"
        r"stops? me|keeps? me)"
    ),
    # it is not something I can do; that cannot be answered
    r"\b(?:not|\w+n't) something (?:for|on|with|to|in|about) which i\b",
    (
        r"\b(?:not|nothing|isn't|no (?:topic|subject|task|request)) (?:a \w+ |an \w+ )?(?:something|anything|"
        r"(?:a |the )?(?:\w+ )?(?:request|topic|question|subject|task|area|conversation)s?)?(?: that|"
        r" which)? ?(?:i|we)(?:'m| am| can| could| will| would|'ll|'d|'re| are| want| feel| wish)\b(?! (?:not|"
        r"sure|recommend|have|had))"
    ),
    (
        r"\b(?:request|question|query|prompt|instructions?|this|that|it|content|response|answer|information|"
        r"message)s? (?:can ?not|can't|will not|won't|could not|must not|should not) be (?:\w+ly )?(?:fulfil+ed|"
        r"answered|processed|completed|provided|honou?red|accommodated|granted|shared|given|generated|displayed|"
        r"handled|discussed|disclosed|released|met|supported)"
    ),
    (
        r"\b(?:request|access|permission|query|prompt)s? (?:(?:is|was|has been|have been) )?(?:denied|declined|"
        r"refused|rejected|blocked|flagged)\b"
    ),
    (
        r"^(?:\w+, )?(?:but )?(?:cannot|can't|can not|unable to|not able to|won't|will not|not going to|"
        rf"no can do|refuse to|refusing to|declining to|not allowed to)\b(?: {_GAP}{{0,2}}?{_HELP}\b|[.!]?$)"
    ),
    (
        r"\b(?:no|not an?) (?:appropriate|acceptable|suitable|permissible|proper) (?:request|question|topic|"
        r"query|subject|prompt)\b"
    ),
    (
        r"^(?:no|nope|nah|never|absolutely not|certainly not|definitely not|of course not|no way|hell no|"
        r"not a chance|not happening|hard pass|no chance|no thanks|no thank you|i refuse|i decline|i pass|pass|"
        r"refused|declined|denied|forbidden|rejected)\s?[.!]*$"
    ),
    r"^(?:no|nope|nah),? (?:i(?:'m| am)? )?not (?:doing|going|happening|gonna)\b",
    r"^(?:but )?no,? i\b.{0,8}\b(?:not|won't|can't|cannot)\b",
    (
        r"^no,? (?:i (?:can ?not|can't|will not|won't|would ?n[o']t|refuse|am not|do not|don't)|i'm not|"
        r"you (?:can ?not|can't|must not|may not|should not|shouldn't))\b"
    ),
    (
        r"\b(?:let's|let us|can we|could we|shall we|we should|may we|might we) (?:please |instead |maybe |"
        r"perhaps |rather )?(?:talk about|discuss|change|move on|focus on|chat about|switch|steer|keep (?:this|"
        r"our|the|things)|not (?:go|do|talk|discuss)|avoid|find (?:a|something))"
    ),
    r"\b(?:prevent|prohibit|forbid|stop|bar|restrict|keep)(?:s|ed|ding|ting)? (?:me|us) (?:from|to)\b",
    r"\b(?:not|\w+n't) (?:allow|permit|let|enable) (?:me|us)\b",
    (
        r"\bi (?:(?:must|have to) )?(?:am sorry|'m sorry|regret)(?: to (?:say|inform|"
        r"tell))?(?: you)?(?: that)?\b.{0,60}\b(?:unable|cannot|can't|not (?:able|possible)|unsafe|decline)\b"
    ),
    (
        r"^(?:i'm |i am )?(?:\w+ )?(?:sorry|afraid|apologies),? (?:but )?(?:no|not|nope|never|i won't|"
        r"absolutely not)\b(?! (?:confus|to hear|problem))"
    ),
    (
        r"^(?:this|that|your|the) (?:content|topic|subject|request|question|language|prompt|message|"
        r"material) (?:is|was|are) (?:not |strictly )?(?:allowed|permitted|prohibited|forbidden|blocked|"
        r"restricted|disallowed|unsupported|inappropriate|unacceptable)\b"
    ),
    (
        r"\b(?:end|stop|leave|close|terminate|discontinue) (?:this|the|our) (?:conversation|chat|discussion|"
        r"topic|exchange)\b"
    ),
    (
        r"\bi (?:was|have been|am|'ve been)(?: \w+)? (?:created|programmed|designed|trained|built|made|"
        r"instructed|told) (?:\w+ )?(?:not to|to (?:not|avoid|refuse|decline|refrain))\b"
    ),
    (
        r"\b(?:please )?(?:do not|don't|stop|refrain from|avoid) (?:ask|asking|request|requesting|mak(?:e|ing)|"
        r"pos(?:e|ing)|send|sending) (?:me |us )?(?:\w+ ){0,3}?(?:that|this|such|these|those|things?|questions?|"
        r"requests?|harmful|inappropriate|illegal|offensive|for)\b"
    ),
    (
        r"\bi (?:have|possess) no (?:intention|desire|ability|access|way|means|authority|knowledge of|"
        r"information (?:on|about))\b"
    ),
    (
        r"\bi(?:'ll| will| shall)? (?:be )?(?:staying?|steering?|keep(?:ing)?) (?:well )?(?:away|clear|"
        r"out) (?:from|of)\b"
    ),
    r"\bnot (?:something|anything) (?:for|that should|to be)\b.{0,40}\b(?:discuss|joke|share|provide)",
    (
        r"\bi think (?:it's|it is|we should|i should|i'll) (?:best|better|wise|stop|not)\b.{0,30}\b(?:not|stop|"
        r"avoid|end|leave)\b"
    ),
)
"""Acts of refusing: the speaker will not, cannot or may not answer."""

LACKS: tuple[str, ...] = (
    (
        rf"\bi {_ADVERB}{{0,2}}(?:do not|don't|do n't|lack) {_GAP}{{0,2}}?(?:have|possess|hold|store|retain|keep|"
        r"know|(?:the )?(?:ability|means))\b(?! (?:personal )?(?:opinions?|feelings?|beliefs?|emotions?|"
        r"preferences?))"
    ),
    (
        r"\bi (?:am not aware|'m not aware|have no (?:access|information|knowledge|way|idea|record|data|"
        r"details|means)|lack|could not find|couldn't find|have never been)\b"
    ),
    (
        r"\bi(?:'m| am) (?:just |only |merely |simply )?an? [^.,;]{0,40}(?:ai|model|assistant|chatbot|"
        r"program)\b[^.]{0,30}\b(?:do not|don't|not|no|can ?not|can't)\b"
    ),
    r"\bi(?:'m| am)(?: really| very| so)? (?:sorry|afraid),? (?:but|however|not|that's|this|i|we|the|your|it)\b",
    (
        r"^(?:(?:i|we) (?:must |do |sincerely |deeply )?apologi[sz]e|apologies|my apologies|"
        r"sorry)\b(?!.{0,20}\b(?:confusion|for (?:the|any|my)|to hear))"
    ),
    r"\bi(?:'m| am) not (?:sure|certain)\b.{0,40}\b(?:appropriate|comfortable|can help|can answer|able to)\b",
)
"""Phrases that refuse only where no content follows: no access, knowledge or ability, and bare apologies."""
