"""Languages by script and model: what is clear, what is not, and what tries to hide."""

# ruff: noqa: RUF001 (other scripts are the point)

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlllm.core.errors import ConfigError
from rlllm.core.records import Sample
from rlllm.rewards.verifiers.language import Language, detect, is_in

SENTENCES = {
    "en": "This is the answer to the question that you have asked.",
    "de": "Das ist die Antwort auf die Frage, die wir nicht gestellt haben.",
    "fr": "C'est la réponse à la question que nous avons posée dans le texte.",
    "es": "Esta es la respuesta a la pregunta que se hizo, pero no lo sé.",
    "it": "Questa è la risposta alla domanda che non abbiamo fatto.",
    "pt": "Esta é a resposta para a pergunta que não foi feita em casa.",
    "nl": "Dit is het antwoord op de vraag die wij niet hebben gesteld.",
    "sv": "Det är svaret på frågan som vi inte har ställt, och jag vet.",
    "fi": "Tämä on vastaus kysymykseen, joka ei ole vielä kysytty, mutta se on niin.",
    "pl": "To jest odpowiedź na pytanie, które nie było zadane przez nas.",
    "cs": "To je odpověď na otázku, která nebyla položena, ale už není čas.",
    "ro": "Acesta este un răspuns la întrebarea care nu a fost pusă și nu mai sunt.",
    "hu": "Ez a válasz arra a kérdésre, hogy nem volt még meg.",
    "tr": "Bu soru için bir cevap var ama çok da önemli değil.",
    "id": "Ini adalah jawaban untuk pertanyaan yang tidak ada dalam buku itu.",
    "vi": "Đây là câu trả lời cho một câu hỏi không được hỏi trong các bài này.",
    "sw": "Hili ni jibu la swali ambayo watu wa kijiji hawakuuliza, lakini ni kweli.",
    "ru": "Это ответ на вопрос, который мы не задали, но он есть.",
    "uk": "Це відповідь на питання, яке ми не ставили, але вона є.",
    "bg": "Това е отговорът на въпроса, който не сме задали, но се знае.",
    "ar": "هذا هو الجواب على السؤال الذي لم يكن في الكتاب",
    "fa": "این پاسخ به سوالی است که ما را در آن خانه بود",
    "ur": "یہ اس سوال کا جواب ہے جو ہم نے نہیں پوچھا تھا",
    "hi": "यह उस सवाल का जवाब है जो हम ने नहीं पूछा था",
    "mr": "हे त्या प्रश्नाचे उत्तर आहे आणि ते बरोबर नाही",
    "ne": "यो प्रश्नको उत्तर हो र यस मा धेरै कुरा छन् भने राम्रो छ",
    "zh": "这是我们没有提出的问题的答案。",
    "ja": "これは私たちが尋ねなかった質問の答えです。",
    "ko": "이것은 우리가 묻지 않은 질문의 답입니다.",
    "el": "Αυτή είναι η απάντηση στην ερώτηση.",
    "he": "זו התשובה לשאלה.",
    "th": "นี่คือคำตอบ",
    "bn": "এটাই উত্তর",
    "ta": "இதுதான் பதில்",
    "te": "ఇదే సమాధానం",
    "kn": "ಇದು ಉತ್ತರ",
    "gu": "આ જવાબ છે",
    "pa": "ਇਹ ਜਵਾਬ ਹੈ",
    "ml": "ഇതാണ് ഉത്തരം",
}


ORDINARY = [
    ("es", "Roma es la capital de Italia."),
    ("es", "No tengo dinero."),
    ("oc", "Lo gat dormís dins l'ostal e canta la cançon."),
    ("lb", "De Kaz schléift am Haus an et ass kal."),
    # language, sentence
    ("en", "Could you tell me where the nearest train station is?"),
    ("en", "She bought two tickets yesterday."),
    ("en", "Water boils at a hundred degrees."),
    ("en", "Good morning, everyone!"),
    ("de", "Wo finde ich hier einen guten Arzt?"),
    ("de", "Gestern kaufte sie zwei Fahrkarten."),
    ("de", "Wasser kocht bei hundert Grad."),
    ("de", "Guten Morgen zusammen!"),
    ("fr", "Pouvez-vous me dire où se trouve la gare ?"),
    ("fr", "Hier, elle a acheté deux billets."),
    ("fr", "Bonjour tout le monde !"),
    ("fr", "L'eau bout à cent degrés."),
    ("es", "¿Dónde queda la estación de tren más cercana?"),
    ("es", "Ayer compró dos entradas."),
    ("es", "El agua hierve a cien grados."),
    ("it", "Dove si trova la stazione più vicina?"),
    ("it", "Ieri ha comprato due biglietti."),
    ("it", "Buongiorno a tutti!"),
    ("pt", "Onde fica a estação de trem mais próxima?"),
    ("pt", "Ontem ela comprou dois bilhetes."),
    ("pt", "A água ferve a cem graus."),
    ("nl", "Waar is het dichtstbijzijnde station?"),
    ("nl", "Gisteren kocht ze twee kaartjes."),
    ("sv", "Var ligger närmaste tågstation?"),
    ("sv", "Igår köpte hon två biljetter."),
    ("da", "Hvor ligger den nærmeste togstation?"),
    ("da", "I går købte hun to billetter."),
    ("no", "Hvor er nærmeste togstasjon?"),
    ("fi", "Missä on lähin rautatieasema?"),
    ("fi", "Eilen hän osti kaksi lippua."),
    ("pl", "Gdzie jest najbliższy dworzec kolejowy?"),
    ("pl", "Wczoraj kupiła dwa bilety."),
    ("cs", "Kde je nejbližší nádraží?"),
    ("cs", "Včera koupila dva lístky."),
    ("ro", "Unde este cea mai apropiată gară?"),
    ("hu", "Hol van a legközelebbi vasútállomás?"),
    ("hu", "Tegnap vett két jegyet."),
    ("tr", "En yakın tren istasyonu nerede?"),
    ("tr", "Dün iki bilet aldı."),
    ("id", "Di mana stasiun kereta terdekat?"),
    ("vi", "Ga tàu gần nhất ở đâu?"),
    ("sw", "Kituo cha treni kilicho karibu kiko wapi?"),
    ("ru", "Где находится ближайший вокзал?"),
    ("ru", "Вчера она купила два билета."),
    ("uk", "Де знаходиться найближчий вокзал?"),
    ("uk", "Вчора вона купила два квитки."),
    ("bg", "Къде е най-близката гара?"),
    ("ar", "أين توجد أقرب محطة قطار؟"),
    ("fa", "نزدیک‌ترین ایستگاه قطار کجاست؟"),
    ("ur", "قریب ترین ریلوے اسٹیشن کہاں ہے؟"),
    ("hi", "सबसे नज़दीकी रेलवे स्टेशन कहाँ है?"),
    ("mr", "सर्वात जवळचे रेल्वे स्थानक कुठे आहे?"),
    ("zh", "最近的火车站在哪里？"),
    ("ja", "一番近い駅はどこですか。"),
    ("ko", "가장 가까운 기차역이 어디예요?"),
    ("el", "Πού είναι ο πλησιέστερος σταθμός;"),
    ("ca", "On és l'estació de tren més propera?"),
    ("hr", "Gdje je najbliži željeznički kolodvor?"),
    ("sk", "Kde je najbližšia železničná stanica?"),
    ("sr", "Где је најближа железничка станица?"),
    ("et", "Kus on lähim rongijaam?"),
    ("lt", "Kur yra artimiausia geležinkelio stotis?"),
    ("lv", "Kur ir tuvākā dzelzceļa stacija?"),
    ("eu", "Non dago tren geltokirik hurbilena?"),
    ("tl", "Nasaan ang pinakamalapit na istasyon ng tren?"),
    ("af", "Waar is die naaste treinstasie?"),
    ("sl", "Kje je najbližja železniška postaja?"),
    ("sq", "Ku është stacioni më i afërt i trenit?"),
    ("is", "Hvar er næsta lestarstöð?"),
    ("az", "Ən yaxın qatar stansiyası haradadır?"),
    ("kk", "Ең жақын теміржол бекеті қайда?"),
]


def test_ordinary_sentences_show_their_language_and_none_another() -> None:
    detected = [(code, detect(text)) for code, text in ORDINARY]
    assert [pair for pair in detected if pair[1] not in (None, pair[0])] == []
    assert sum(language is None for _, language in detected) <= 2


@pytest.mark.parametrize(("code", "text"), ORDINARY)
def test_an_ordinary_sentence_is_not_accepted_as_another_language(code: str, text: str) -> None:
    others = [other for other in SENTENCES if other != code and not {code, other} <= {"bs", "hr", "sr"}]
    assert [other for other in others if is_in(text, other)] == []


@pytest.mark.parametrize(("code", "text"), SENTENCES.items())
def test_a_sentence_shows_its_language(code: str, text: str) -> None:
    assert detect(text) == code


@pytest.mark.parametrize("text", ["", "42", "x", "Xyzzy plugh", "!!!", "1 + 1 = 2", "abc где", "ꙮ"])
def test_some_texts_do_not(text: str) -> None:
    assert detect(text) is None


def value(completion: str, language: str = "zh") -> float | None:
    return Language(language)(Sample("?", completion)).value


@pytest.mark.parametrize("code", SENTENCES)
def test_a_text_in_the_expected_language_is_worth_one_and_another_less(code: str) -> None:
    assert value(SENTENCES[code], code) == 1.0
    assert (value(SENTENCES["en" if code != "en" else "de"], code) or 0.0) < 0.5


def test_a_sentence_between_two_languages_cannot_be_judged() -> None:
    assert value("Jeg har ret.", "da") is None
    assert value("Kočka spí.", "cs") is None


def test_a_mixed_text_is_worth_its_share() -> None:
    assert value("这是问题 four", "zh") == 0.5
    assert value(f"{SENTENCES['en']} {SENTENCES['de']}", "en") == pytest.approx(44 / 95, abs=0.02)


def test_formulas_code_and_addresses_are_left_out() -> None:
    assert value("答案是 $x^2 + y$，代码是 `print(x)`，见 https://example.org/a") == 1.0
    assert value("因此 \\[ a = \\frac{b}{c} \\] 成立，所以我们有答案。") == 1.0


def test_english_does_not_hide_in_code_behind_one_word() -> None:
    assert (value(f"好 ```{SENTENCES['en'] * 5}```") or 0.0) < 0.1
    assert (value(f"好 ${SENTENCES['en'] * 5}$") or 0.0) < 0.1


def test_nothing_is_worth_nothing_and_a_number_or_name_cannot_be_judged() -> None:
    assert value("  ") == 0.0
    assert value("#### 42") is None
    assert value("Berlin", "de") is None
    assert value("OK.", "en") is None


def test_a_short_sentence_counts_as_the_whole_text_does() -> None:
    assert value("Yes. So. We go. This is what we have been waiting for.", "en") == 1.0
    assert value("Yes. So. We go. This is what we have been waiting for.", "de") == 0.0


def test_characters_without_kana_are_japanese_only_where_they_are_few() -> None:
    assert value("東京駅", "ja") is None
    assert value("最近的火车站在哪里？就在前面不远的地方。", "ja") == 0.0
    assert value("一番近い駅はどこですか。東京駅。", "ja") == 1.0


ROWS = [
    # row, prompt, value of a German completion
    ({"language": "de"}, "?", 1.0),
    ({"language": "de-AT"}, SENTENCES["en"], 1.0),
    ({}, SENTENCES["de"], 1.0),
    ({}, SENTENCES["en"], 0.0),
    ({}, "?", None),
    ({"language": "tlh"}, "?", None),
    ({"language": 3}, "?", None),
]


@pytest.mark.parametrize(("row", "prompt", "share"), ROWS)
def test_the_language_comes_from_the_row_or_the_prompt(
    row: dict[str, object], prompt: str, share: float | None
) -> None:
    assert Language()(Sample(prompt, SENTENCES["de"], meta=row)).value == share


def test_an_unknown_language_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="language of the reward language"):
        Language("tlh")


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=80))
def test_any_text_gets_a_share_or_none(text: str) -> None:
    share = value(text)
    assert share is None or 0.0 <= share <= 1.0


@pytest.mark.parametrize("piece", ["`", "$", "\\[", "$$", "<a", "a ", "https://", "\n", "好"])
def test_long_repetitions_take_no_time(piece: str) -> None:
    share = value(piece * 30_000)
    assert share is None or 0.0 <= share <= 1.0
