"""Stop words: the most frequent short words of each language, by script. Data only.

A word that several languages of a script share counts for each of them by its share, so the lists need not be disjoint.
"""

# ruff: noqa: RUF001 (letters that look alike are what this file is about)

from __future__ import annotations

STOP_WORDS: dict[str, dict[str, str]] = {
    "LATIN": {
        "en": "the of and to a in is that it was for on are as with his they i at be this have from or had by but not what "
        "all were we when your can said there an each which she do how their if will you he has would been who its more",
        "de": "der die das und ist nicht ein eine einer einem den dem des zu mit sich auf für von im es sie er ich wir auch "
        "als an werden aus bei nach wie war sind wird oder aber wenn nur noch durch über haben kann mehr sehr diese dass",
        "fr": "le la les de des du et est un une que qui dans pour pas sur avec ce il elle nous vous je au aux sont par plus "
        "mais ou où cette ces ses son sa ne se tout comme être fait leur ont était très aussi même peut sans deux entre",
        "es": "el la los las de que y en un una es por con no para se su al lo como más pero sus le ya o este sí porque esta "
        "entre cuando muy sin sobre también me hasta hay donde quien desde todo nos durante son está ser fue",
        "it": "il lo la i gli le di che e è un una in per non con si da come del della dei delle nel nella al alla sono ma "
        "anche più questo questa ha suo sua essere o se ci dal dalla tra molto quando stato perché cui degli",
        "pt": "o a os as de que e do da em um uma é para com não no na por mais se como mas foi ao dos das ele ela seu sua ou "
        "quando muito nos já também só pelo pela até isso são está ser tem você entre depois sem mesmo aos",
        "nl": "de het een en van is dat niet in op te zijn voor met die aan er om ook als maar bij ik je hij zij wij naar dan "
        "nog wordt door over uit kan dit deze heeft hebben werd wel geen meer was worden tot onder moet",
        "sv": "och att det som en är av för på den med inte till han var jag ett har de om vi men från så sig kan när ska "
        "också eller efter vid hade här mycket alla denna detta bara under där mot vara skulle blir",
        "da": "og at det som en er af for på den med ikke til han var jeg et har de om vi men fra så sig kan når skal også "
        "eller efter ved havde her meget alle denne dette bare hvad være blev efter nogle hvor kun",
        "no": "og at det som en er av for på den med ikke til han var jeg et har de om vi men fra så seg kan når skal også "
        "eller etter ved hadde her mye alle denne dette bare hva være ble noen hvor kun",
        "fi": "ja on ei se että oli hän mutta joka kun niin myös ovat tämä sen olla kuin voi jos tai ole mitä minä sinä he "
        "nyt vain kanssa jo hänen siitä mukaan vielä ollut sitä jotka minun sekä kuitenkin",
        "pl": "i w nie na się z do to że jest jak po co tak ale o za od przez być są już tylko może dla ich czy jego jej ten "
        "ta tym był była było gdy lub pod które który która mnie także oraz przy bardzo",
        "cs": "a se na je v že to s z do o i ve jsem si za jako po tak ale by jsou byl k pro který která které od nebo při už "
        "jeho jen být mezi když až také může není bylo byla ještě velmi které tento",
        "ro": "și de a la în nu cu pe că o un din pentru este care se mai sunt ce să dar au fost ca prin sau lui ei am după "
        "când foarte până acest această fi ale cel dintre fără lor într",
        "hu": "a az és hogy nem is egy van ez volt de meg csak ha már mint el még azt vagy ezt ki lehet lesz nagyon kell sem "
        "aki ami minden vannak után pedig között által több olyan voltak",
        "tr": "ve bir bu için da de ile çok ne o gibi daha ama var olarak kadar değil olan en ben sen biz her şey mi yok sonra "
        "ki ya veya onun olduğu tarafından göre ise bunu hem",
        "id": "yang dan di itu dengan untuk tidak ini dari dalam akan pada juga saya ke karena ada mereka lebih atau oleh "
        "telah bisa kita adalah sudah kami seperti dapat anda tetapi sebagai orang saat",
        "vi": "là và của không một có được trong cho người những các này với đã tôi để khi từ đến như cũng nhưng về ra anh chị "
        "thì sẽ rất nhiều làm lại còn vào hay bạn phải nên",
        "sw": "na ya wa kwa ni katika za la hii hiyo kama cha lakini pia au si kuwa hivyo watu wake yake sana bila baada kila "
        "ambayo vya moja yao hilo ili tu huo huu",
    },
    "CYRILLIC": {
        "ru": "и в не на что с он я как это по но они мы из у за так от то все же вы только было бы к его для или мне уже если "
        "есть когда очень быть также был она который были чтобы при",
        "uk": "і в не на що з він я як це по але вони ми із у за так від та все ж ви тільки було б до його для або мені вже "
        "якщо є коли дуже бути також був вона який були щоб при",
        "bg": "и в не на че с той аз как това по но те ние от за така то всичко само беше би към неговия или ми вече ако има "
        "когато много бъде също бил тя който бяха да се са ще е си",
    },
    "ARABIC": {
        "ar": "في من على أن إلى هذا التي الذي كان عن مع هذه ما لا ذلك هو هي كل بعد بين قد لم أو ثم كانت إن لكن حيث عند غير "
        "عندما يكون كما أي",
        "fa": "و در به از که این را با است آن برای می ها یک بود تا هم بر شده باید خود اما نیز شود هر کرد دارد کند یا اگر "
        "همه چه نیست من شما آنها بسیار های",
        "ur": "کے کی میں ہے اور سے کا کو اس یہ نے پر ہیں کہ بھی تو ایک نہیں تھا ہو گیا کر لیے جو ہی تھی اپنے ان وہ تھے جس "
        "رہے کیا ساتھ ہوتا",
    },
    "DEVANAGARI": {
        "hi": "के में है की को से का और पर यह कि भी ने हैं एक नहीं इस तो हो कर था लिए जो ही थी अपने वह हम मैं या साथ थे रहे "
        "किया जाता बहुत होता",
        "mr": "आहे आणि या हे च ते की मध्ये नाही तर होते असे एक हा ही त्या आहेत मी पण केले करून होता त्यांनी साठी काही त्याच्या "
        "झाले असून म्हणून आपल्या खूप",
        "ne": "छ र को मा हो यो छन् पनि गर्न भएको भने लागि एक गरेको उनले नै थियो हुन्छ गर्ने तथा यस तर म हामी थिए धेरै हुन् "
        "लाई बाट रहेको",
    },
}
