"""Plain acts of refusing in languages other than English."""

from __future__ import annotations

LANGUAGES: tuple[str, ...] = (
    # German
    (
        r"\b(?:ich|wir) (?:kann|können|darf|dürfen|werde|werden|möchte|möchten|will|"
        r"wollen)\b[^.!?]{0,60}\b(?:nicht|kein|keine|keinen|keinerlei|niemals)\b"
    ),
    (
        r"\b(?:kann|können|darf|dürfen|werde|möchte) (?:ich|wir)\b[^.!?]{0,60}\b(?:nicht|kein|keine|keinen|"
        r"keinerlei|niemals)\b"
    ),
    (
        r"\b(?:bin|sind|ist) (?:ich |wir |es mir |mir )?(?:leider )?(?:nicht (?:in der lage|befugt|berechtigt|"
        r"möglich|gestattet|erlaubt|bereit)|ausserstande|außerstande)"
    ),
    (
        r"\b(?:muss|müssen) (?:ich|wir)? ?(?:leider |diese |ihre |deine |die |das |es )*(?:anfrage |"
        r"bitte )?(?:ablehnen|verweigern)"
    ),
    r"\b(?:verstösst|verstößt|widerspricht) (?:gegen )?(?:meine|meinen|unsere|unseren|die|den)\b",
    (
        r"\b(?:helfe|gebe|sage|verrate|beantworte|unterstütze|erkläre|schreibe|"
        r"mache) ich (?:\w+ ){0,3}?(?:nicht|kein\w*|nie)\b"
    ),
    r"\bich (?:helfe|gebe|verrate|beantworte|unterstütze) (?:\w+ ){0,5}?(?:nicht|kein\w*|nie)\b",
    r"\blehne ich ab\b",
    r"\bich lehne (?:\w+ ){0,4}ab\b",
    r"\bich weigere mich\b",
    r"^(?:es )?tut mir (?:sehr |wirklich )?leid, (?:aber|doch|ich|das|dabei|da)\b",
    # French
    r"\bje (?:ne |n')(?:peux|puis|suis pas|vais|veux|souhaite|saurais|pourrai|pourrais)\b",
    r"\b(?:je (?:dois|suis contraint|suis dans l'obligation)|je me dois) (?:\w+ )?(?:de )?(?:refuser|décliner)",
    r"\bje (?:refuse|décline|préfère ne pas)\b",
    r"\b(?:il m'est|cela m'est|m'est) (?:impossible|interdit)",
    r"\bje suis (?:dans l'incapacité|incapable)",
    r"\bcontraire à (?:mes|nos) (?:principes|règles|directives)",
    r"^(?:je suis (?:vraiment |sincèrement )?)?(?:désolée?|navrée?),? mais\b",
    # Spanish
    (
        r"\b(?:no|nunca) (?:puedo|podemos|podré|podría|voy a|debo|quiero|me es posible|me está permitido|"
        r"estoy (?:en condiciones|(?:autorizad|capacitad|programad|dispuest)\w))\b"
    ),
    r"\b(?:debo|tengo que|me veo obligad\w a) (?:\w+ )?(?:rechazar|negarme|declinar)",
    r"\bme niego a",
    r"\bva en contra de mis\b",
    r"^lo siento(?: mucho)?,? (?:pero|no)\b",
    # Italian
    r"\bnon (?:posso|possiamo|potrei|sono in grado|sono autorizzat\w|mi è possibile|intendo|voglio|mi sento)\b",
    r"\b(?:devo|sono costrett\w a) (?:rifiutare|declinare)",
    r"\bmi rifiuto di",
    r"\bcontro i miei principi",
    r"\bviola le (?:mie|nostre)",
    r"^(?:mi dispiace|sono spiacente|spiacente|mi scuso),? (?:ma|non|però)\b",
    # Portuguese
    (
        r"\b(?:não|nao) (?:posso|podemos|poderei|poderia|consigo|vou|devo|quero|estou (?:autorizad|apt|"
        r"programad)\w*|sou capaz|me é possível)\b"
    ),
    r"\b(?:devo|tenho que|preciso) (?:recusar|negar)",
    r"\brecuso-me",
    r"\bme recuso a",
    r"\bvai contra (?:as )?(?:minhas|meus)",
    r"^(?:desculpe?|sinto muito|lamento|peço desculpas?),? (?:mas|não)\b",
    # Dutch
    r"\b(?:ik|we|wij) (?:kan|kunnen|mag|mogen|zal|zullen|wil|ga)\b[^.!?]{0,60}\b(?:niet|geen)\b",
    r"\b(?:kan|mag|zal|wil) ik\b[^.!?]{0,60}\b(?:niet|geen)\b",
    r"\b(?:ben|zijn) (?:helaas )?niet (?:in staat|bevoegd|bereid)",
    r"\bmoet (?:ik )?(?:\w+ ){0,4}?(?:weigeren|afwijzen)",
    r"\bik weiger\b",
    r"\btegen mijn (?:richtlijnen|principes)",
    r"^(?:het spijt me|sorry),? maar\b",
    # Polish, Swedish, Danish, Norwegian, Turkish, Indonesian
    r"\bnie (?:mogę|możemy|jestem w stanie|będę|wolno mi)\b",
    r"\bmuszę odmówić",
    r"\b(?:jag|jeg) (?:kan|får|må|vil|kommer|tänker|är|er) (?:\w+ ){0,2}?(?:inte|ikke)\b",
    r"\b(?:kan|vil) (?:jag|jeg) (?:\w+ ){0,2}?(?:inte|ikke)\b",
    r"\b(?:yardımcı olamam|yapamam|veremem|sağlayamam|yardım edemem|cevap veremem|olamıyorum|paylaşamam)\b",
    r"\bsaya tidak (?:dapat|bisa|boleh|akan|mampu)\b",
    r"\btidak (?:dapat|bisa) (?:membantu|memberikan)",
    r"\b(?:tôi|mình) (?:không thể|xin từ chối|không được phép)",
    # Chinese, simplified and traditional
    r"(?:抱歉|对不起|對不起|不好意思|遗憾|遺憾)[^。！？]{0,30}(?:无法|無法|不能|不会|不會|不可以|不便|没有办法|沒有辦法|拒绝|拒絕)",
    (
        r"(?:我|我们|我們)[^。！？]{0,12}(?:无法|無法|不能|不会|不會|不可以|拒绝|拒絕|没办法|沒辦法)[^。！？]{0,12}(?:提供|回答|帮|幫|协助|協助|支持|满足|滿足|讨论|"
        r"討論|参与|參與|完成|处理|處理|给|給|这|這|执行|執行|生成|描述|透露)"
    ),
    r"^(?:无法|無法|不能|拒绝|拒絕)(?:提供|回答|帮|幫|协助|協助|满足|滿足|完成|处理|處理|生成)",
    r"(?:违反|違反|不符合)[^。！？]{0,12}(?:规定|規定|法律|政策|准则|準則|原则|原則|道德)",
    # Japanese
    (
        r"(?:お(?:手伝い|答え|応え|教え|力にな)|提供|支援|回答|対応|説明|協力|サポート|ご案内|生成|作成|共有|援助|アドバイス|応じ)[^。！？]{0,14}(?:できません|出来ません|"
        r"できかねます|致しかねます|いたしかねます|ことはありません|わけにはいきません|られません|しません|いません|控え|ん)(?:[。！？]|$|が)"
    ),
    r"(?:申し訳|すみません|ごめんなさい|恐れ入り|残念)[^。！？]{0,50}(?:できません|出来ません|かねます|いたしません|られません|お断り)",
    r"お断り(?:します|いたします|し)",
    # Korean
    (
        r"(?:도와드릴|도움을 드릴|제공할|제공해 드릴|답변할|답변드릴|"
        r"알려드릴|답할|도울|도와줄|지원할|말씀드릴|설명할) 수(?:는|가)? 없"
    ),
    r"(?:죄송|미안)[^.!?]{0,40}(?:없습니다|어렵습니다|없어요|어려워요)",
    # Russian, Ukrainian
    (
        r"\bя (?:\w+ ){0,3}?(?:не (?:могу|буду|стану|хочу|имею права|в состоянии|способ\w+|готов\w*|"
        r"уполномоч\w+)|вынужден\w* отказ|отказываюсь|обязан\w* отказ)"
    ),
    (
        r"\b(?:к сожалению|извините|простите|прошу прощения|сожалею)\b[^.!?]{0,60}\b(?:не (?:могу|можем|буду|"
        r"имею|получится)|невозможно|нельзя|вынужден)"
    ),
    r"^не (?:могу|буду) (?:\w+ ){0,2}?(?:помо|ответ|предостав|дать|обсужд|рассказ)",
    r"\bпротиворечит (?:моим|нашим|правилам)",
    r"\bя не можу\b",
    r"\bна жаль\b[^.!?]{0,40}\bне можу",
    # Arabic, Hindi
    r"(?:لا (?:أستطيع|يمكنني|استطيع)|لن (?:أساعد|أقدم)|(?:آسف|عذرا|أعتذر)[^.!؟]{0,40}لا)",
    r"(?:मदद|सहायता|जानकारी|उत्तर|जवाब)[^।.!?]{0,20}(?:नहीं (?:कर|दे) सक)",
    r"(?:क्षमा|माफ)[^।.!?]{0,50}नहीं",
)
"""Acts of refusing in other languages."""
