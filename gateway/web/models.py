"""GET /v1/models and /v1/models/{id}: the apps by name."""

from __future__ import annotations

from urllib.parse import unquote_plus

from gateway.dify_api.app import App
from gateway.errors import ModelNotFound, NotReady
from gateway.openai_api.models import model_document, model_list
from gateway.web.base import ApiHandler


class ModelListHandler(ApiHandler):
    """All models; no call to Dify is made."""

    endpoint_name = "models"

    def get(self) -> None:
        registry = self.services.registry
        if not registry.ready:
            raise NotReady("No Dify app could be asked yet; the gateway keeps trying.")
        self.write_json(model_list(registry.snapshot.listing))

    head = get


class ModelHandler(ApiHandler):
    """One model, with the inputs that its app takes."""

    endpoint_name = "models"

    def get(self, model_id: str) -> None:
        self.write_json(model_document(self._find(model_id).model()))

    head = get

    def _find(self, model_id: str) -> App:
        registry = self.services.registry
        try:
            return registry.find(model_id)
        except ModelNotFound:
            # openai-python 0.28 writes a blank as `+`; Tornado has taken that for a plus sign.
            if app := registry.snapshot.find(unquote_plus(self.request.path.removeprefix("/v1/models/"))):
                return app
            raise
