"""The client's words for a run that waits for a person."""

from __future__ import annotations

from gateway.dify_api import calls
from gateway.dify_api.app import App
from gateway.dify_api.forms import read_form
from gateway.dify_run import FORM_CLOSED, DifyRun, FormClosed
from gateway.exchange.answer import Finished, TextDelta
from gateway.exchange.forms.form import Form
from gateway.exchange.forms.form_reply import UnclearReply, read_reply
from gateway.exchange.forms.form_token import FormReference
from gateway.services import Services


async def reply_to_form(asked: FormReference, run: DifyRun, app: App, user: str, services: Services) -> None:
    """Hand the client's words to the run that waits for them; ask again where they do not say what to do."""
    form = await _open_form(asked, app, services)
    try:
        if form is None:
            raise FormClosed
        reply = read_reply(form, asked.reply)
        call = calls.submit_form(form.token, reply.action, reply.inputs, user)
        await run.resume(call, form.run_id)
    except UnclearReply as unclear:
        run.tell([TextDelta(str(unclear)), Finished(form=form)])
    except FormClosed:  # told in the chat, so that the chat can go on: the next turn finds no form
        run.tell([TextDelta("This form was answered before, or its time is over."), Finished()])


async def _open_form(asked: FormReference, app: App, services: Services) -> Form | None:
    answer = await services.dify.fetch(app.key, calls.form(asked.token))
    if answer.head.status >= 400 and answer.head.status not in FORM_CLOSED:
        raise answer.error()
    return read_form(answer.json(), asked.run_id, asked.token)
