"""Counts of what messages hold beside text: turns that train, reasoning, tool calls, tools, and unknown keys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from rlllm.core.records import MESSAGE_KEYS, Conversation, Message, Record, tools_of
from rlllm.data.inspect.checks import Finding


@dataclass(slots=True)
class ChatCounts:
    """Running counts over the records of a data set."""

    system: int = 0
    """Rows whose prompt begins with a system message."""
    rows: int = 0
    """Conversations."""
    spoken: int = 0
    """Turns of the assistant in conversations, up to the last that trains."""
    trained: int = 0
    """Those of them that train."""
    reasoning: int = 0
    calls: int = 0
    tools: int = 0
    """Rows with descriptions of tools."""
    unknown_keys: Counter[str] = field(default_factory=Counter)
    """Key of a message that rlllm does not know -> messages with it."""

    def add(self, record: Record) -> None:
        """Count one record."""
        self.tools += bool(tools_of(record.meta))
        prompt = record.prompt if isinstance(record.prompt, list) else []
        self.system += bool(prompt) and prompt[0]["role"] == "system"
        if isinstance(record, Conversation) and record.prompt:
            self.rows += 1
            self.spoken += 1 + sum(message["role"] == "assistant" for message in prompt)
            self.trained += 1 + len(record.trained_turns)
        for message in [*prompt, *_messages(record)]:
            if message.keys() == {"role", "content"}:
                continue
            self.reasoning += "reasoning_content" in message
            self.calls += "tool_calls" in message
            self.unknown_keys.update(message.keys() - MESSAGE_KEYS)

    def facts(self) -> Iterator[str]:
        """The counts that are not 0, one sentence each."""
        if self.spoken > self.rows or self.trained > self.rows:
            yield f"turns of the assistant: {self.spoken:,}, of which the data has {self.trained:,} train"
        counts = {
            "a system message": (self.system, "rows"),
            "descriptions of tools": (self.tools, "rows"),
            "reasoning": (self.reasoning, "turns"),
            "tool calls": (self.calls, "turns"),
        }
        held = [f"{what} in {count:,} {where}" for what, (count, where) in counts.items() if count]
        if held:
            yield "chats: " + ", ".join(held)

    def findings(self) -> Iterator[Finding]:
        """Keys of messages that only a chat template could read."""
        if self.unknown_keys:
            keys = ", ".join(f"{key} ({count:,})" for key, count in self.unknown_keys.most_common())
            yield Finding("message keys", f"keys of messages that nothing reads unless the chat template does: {keys}")


def _messages(record: Record) -> list[Message]:
    """The completions of a record that are messages."""
    sides = (getattr(record, side, None) for side in ("completion", "chosen", "rejected"))
    return [message for side in sides if isinstance(side, list) for message in side]
