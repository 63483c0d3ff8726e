"""Chat and completion apps: message events, then message_end."""

from __future__ import annotations

from collections.abc import Iterator

from tests.simulator.producer import BlockingReply, Producer, new_id
from tests.simulator.speech import Failure, Token, prompt_tokens, speak
from tests.simulator.steps import Event, Send, Silence, Step
from tests.simulator.usage import ZERO, Tokens, usage_of

FORBIDDEN_INPUT, FORBIDDEN_OUTPUT = "forbidden", "w10"
INPUT_BLOCKED, OUTPUT_BLOCKED = "INPUT BLOCKED", "OUTPUT BLOCKED"
_NO_ANSWER = (
    "1 validation error for Data\nanswer\n  Input should be a valid string [type=string_type, input_value=[], "
    "input_type=list]\n    For further information visit https://errors.pydantic.dev/2.11/v/string_type"
)


class MessageApp(Producer):
    """`chat` and `completion`; they differ in the envelope only."""

    def steps(self) -> Iterator[Step]:
        script, profile = self.turn.script, self.turn.profile
        if script.hang:
            yield Silence(pings=False)
        if self.turn.app.moderation and FORBIDDEN_INPUT in self.turn.query:
            yield from self._blocked_input()
            return
        self._renamed = bool(self.turn.files) and profile.user_file_renames_chunks
        if script.file:
            yield Send(self.message_file(new_id()))
            self._renamed = self._renamed or profile.own_file_renames_chunks
        for item in speak(self.turn):
            if isinstance(item, Failure):
                yield from self.fail()
                return
            if isinstance(item, Token):
                yield from self.interludes(self.tokens)
                self.answer += item.text
                self.tokens += 1
                yield Send(self._message(item.text), tokens=1)
            else:
                yield item
        yield Send(self._message(""))
        yield from self._moderated_output()
        if script.stopped:
            yield from self.stopped()
            return
        yield Send(self.message_end(self.usage()))
        yield from self.tail()

    def stopped(self) -> Iterator[Step]:
        """Nothing marks the stop but the usage: estimated once, zero on newer releases."""
        estimate = Tokens(prompt_tokens(self.turn), self.tokens * 4)
        tokens = estimate if self.turn.profile.stop_estimates_usage else ZERO
        yield Send(self.message_end(usage_of(self.turn, tokens, self.seconds)))
        yield from self.tail()

    def blocking_reply(self) -> BlockingReply:
        if self.turn.profile.strict_bodies and not self.tokens and not self.answer and self.status == "succeeded":
            # Joining no chunks gives Dify an empty list, which its own schema refuses.
            document = {"code": "invalid_param", "message": _NO_ANSWER, "status": 400}
            return BlockingReply(400, document)
        return self.message_reply()

    def _message(self, text: str) -> Event:
        # Once a message has a file, some releases send its text under the file's name.
        name = "message_file" if self._renamed else "message"
        return self.event(name, id=self.turn.message_id, answer=text, from_variable_selector=None)

    _renamed = False

    def _blocked_input(self) -> Iterator[Step]:
        for letter in INPUT_BLOCKED:
            self.answer += letter
            yield Send(self._message(letter))
        yield Send(self.message_end(usage_of(self.turn, ZERO, 0.0, counted=False)))

    def _moderated_output(self) -> Iterator[Step]:
        replacement = self.turn.script.replace
        if self.turn.app.moderation and replacement is None:
            if FORBIDDEN_OUTPUT in self.answer:
                replacement = OUTPUT_BLOCKED
            elif self.turn.profile.replace_on_every_turn:
                replacement = self.answer
        if replacement is not None:
            yield Send(self.message_replace(replacement, reason=""))
