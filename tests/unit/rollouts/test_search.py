"""The search environment: what it finds, corpora of users, and that the data's transcripts are what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlllm.core.errors import ConfigError
from rlllm.core.records import Conversation, PromptTask
from rlllm.data.procedural.gazetteer import gazetteer
from rlllm.data.procedural.tool_tasks import search
from rlllm.data.request import DataRequest, Split
from rlllm.rollouts.environments.search import Search


def test_every_document_is_the_first_that_its_title_finds() -> None:
    environment = Search(results=1)
    for document in gazetteer().documents:
        assert environment.search(document.title) == str(document)
        assert environment.read(document.title.lower()) == document.text


def test_titles_of_the_world_are_distinct_and_places_exist() -> None:
    world = gazetteer()
    titles = [document.title for document in world.documents]
    assert len(set(titles)) == len(titles) == len(world.people) + len(world.towns) + len(world.currencies)
    assert set(world.people.values()) <= world.towns.keys()
    assert set(world.towns.values()) <= world.currencies.keys()


@pytest.mark.parametrize("query", ["", "?!", 'money" OR "', "NEAR(a b)", "title:x", "*", "qqqqq", "'"])
def test_no_query_is_an_error(query: str) -> None:
    assert isinstance(Search().search(query), str)


def test_what_is_not_there_is_said() -> None:
    assert Search().search("zzzz") == "nothing found"
    with pytest.raises(ValueError, match="no document has the title zzzz"):
        Search().read("zzzz")


def test_a_corpus_of_the_user_is_a_file_or_a_folder(tmp_path: Path) -> None:
    (tmp_path / "docs.jsonl").write_text(
        '{"title": "Cats", "text": "They purr when they are pleased."}\n\n{"title": "Dogs", "text": "They bark."}\n'
    )
    of_file = Search(str(tmp_path / "docs.jsonl"), length=10)
    assert of_file.search("pleased purring") == "Cats: They purr ..."
    assert of_file.search("they").count("\n") == 1
    folder = tmp_path / "texts" / "inner"
    folder.mkdir(parents=True)
    (folder / "birds.md").write_text("Birds\n\nsing at dawn.")
    assert Search(str(tmp_path / "texts")).search("dawn") == "birds: Birds sing at dawn."
    assert Search(str(tmp_path / "texts")).read("birds") == "Birds\n\nsing at dawn."


UNFIT = [
    ("none.jsonl", None, "no such corpus"),
    ("empty.jsonl", "\n", "the corpus has no documents"),
    ("plain.jsonl", "hello\n", "line 1 of the corpus is no document"),
    ("keys.jsonl", '{"title": "a", "text": "b"}\n{"name": "a"}\n', "line 2 of the corpus is no document: KeyError"),
]


@pytest.mark.parametrize(("name", "text", "words"), UNFIT, ids=[name for name, _, _ in UNFIT])
def test_an_unfit_corpus_is_named(tmp_path: Path, name: str, text: str | None, words: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=words):
        Search(str(tmp_path / name))
    with pytest.raises(ConfigError, match="one result or more"):
        Search(results=0)


def rows(level: int, split: Split, kind: type = PromptTask, **params: float) -> list[PromptTask | Conversation]:
    return search(DataRequest(kind=kind, split=split, rows=400, seed=0, level=level, params=params))  # type: ignore[return-value]


@pytest.mark.parametrize("level", [1, 2, 3])
def test_no_person_is_in_both_splits_and_so_many_searches_lead_to_the_answer(level: int) -> None:
    train, held_out = (rows(level, split) for split in ("train", "holdout"))
    assert len(held_out) == len({task.prompt for task in held_out})
    assert not {task.prompt for task in train} & {task.prompt for task in held_out}
    environment = Search(results=1)
    turns = rows(level, "train", Conversation, searches=1.0)
    for turn in turns:
        if isinstance(turn.prompt, list):
            said = [message["content"] for message in turn.prompt if message["role"] == "tool"]
            queries = [message["content"] for message in turn.prompt if message["role"] == "assistant"]
            assert said == [
                environment.search(query.removeprefix("<<search query=").removesuffix(">>")) for query in queries
            ]
            if turn.completion.startswith("####"):
                assert len(said) == level
                assert turn.completion.removeprefix("#### ") in said[-1]
