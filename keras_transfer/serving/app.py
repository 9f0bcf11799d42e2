"""The addresses of a service: FastAPI's application around a `Service`."""

import base64
import contextlib
import hashlib
import hmac
import importlib.resources
import json
import re
import typing
from collections.abc import Callable, Sequence

import fastapi
import pydantic
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from keras_transfer.serving.limits import RefusedError
from keras_transfer.serving.service import Service
from keras_transfer.serving.uploads import FIELD

# Of nginx, for its log: nobody reads an answer any more.
CLIENT_GONE = 499


class Problem(pydantic.BaseModel):
    """Say in one sentence why there is no answer."""

    detail: str


class PredictionModel(pydantic.BaseModel):
    """Name the class of one photo."""

    file: str
    class_name: str
    probability: float
    probabilities: dict[str, float]
    unknown: bool | None
    heat_map: str | None


class PredictionsModel(pydantic.BaseModel):
    """Hold one prediction a photo, in the order in which they were sent."""

    predictions: list[PredictionModel]


class AboutModel(pydantic.BaseModel):
    """Describe the classifier."""

    class_names: list[str]
    image_size: int
    backbone: str | None
    format: str
    precision: str
    temperature: float | None
    explains: bool
    unknown: bool
    test: dict | None
    versions: dict[str, str]


class StateModel(pydantic.BaseModel):
    """Say how the service is."""

    state: str


class Json(JSONResponse):
    """Hold JSON in ASCII: names of files may hold what is in no encoding."""

    def render(self, content: typing.Any) -> bytes:
        return json.dumps(content, allow_nan=False).encode("ascii")


WHY_NOT = {
    401: "The token is missing or wrong",
    408: "The upload took too long",
    413: "Too many bytes, pixels or files",
    415: "No form, or no image",
    422: "A truncated image, or no whole form",
    429: "The queue is full: Retry-After says when to come again",
    503: "The model is being loaded, or the service is about to end",
    504: "The photos waited too long",
}
_UPLOAD = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [FIELD],
                    "properties": {
                        FIELD: {
                            "type": "array",
                            "minItems": 1,
                            "items": {"type": "string", "format": "binary"},
                        }
                    },
                }
            }
        },
    }
}


def make_app(
    service: Service,
    *,
    token: str | None = None,
    hosts: Sequence[str] = ("*",),
    ready: Callable[[], None] = lambda: None,
    failed: Callable[[], None] = lambda: None,
) -> fastapi.FastAPI:
    """Return the application that answers for a service.

    Args:
        service: What answers.
        token: What clients must send along. Defaults to none.
        hosts: Names by which the service may be called: on this machine alone, a page
            of somebody else must not reach it by a name of its own. Defaults to all.
        ready: Is called when the classifier is loaded.
        failed: Is called when it cannot be loaded.
    """

    @contextlib.asynccontextmanager
    async def lifespan(_):
        async with service.running(ready, failed):
            yield

    app = fastapi.FastAPI(
        title="keras_transfer",
        summary="A classifier of photos",
        # Their pages would load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=lifespan,
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=[*hosts]),
            Middleware(_DeclaredSize, service=service),
            Middleware(RequestBodyLimitMiddleware, max_body_size=service.limits.body),
        ],
    )
    _add_errors(app, service)
    _add_open(app, service)
    _add_guarded(app, service, token)
    return app


class _DeclaredSize:
    """Answer a body that is too large by its own account, as all errors are answered.

    Starlette's limit would answer it in plain text.
    """

    def __init__(self, app, service: Service):
        self._app, self._service = app, service

    async def __call__(self, scope, receive, send) -> None:
        app = self._app
        if scope["type"] == "http":
            length = Headers(scope=scope).get("content-length", "0")
            if length.isdecimal() and int(length) > self._service.limits.body:
                app = _answer(self._service, _too_large(self._service))
        await app(scope, receive, send)


def _too_large(service: Service) -> RefusedError:
    most = service.limits.body // 2**20
    return RefusedError(413, "too large", f"Expected at most {most} MB in one request.")


def _answer(service: Service, error: HTTPException) -> Response:
    service.metrics.refusals.labels(getattr(error, "reason", "other")).inc()
    return Json({"detail": error.detail}, error.status_code, headers=error.headers)


def _add_errors(app: fastapi.FastAPI, service: Service) -> None:
    @app.exception_handler(HTTPException)
    async def refused(_, error: HTTPException) -> Response:
        if error.status_code == 413 and not isinstance(error, RefusedError):
            error = _too_large(service)
        return _answer(service, error)

    @app.exception_handler(RequestValidationError)
    async def wrong_query(_, error: RequestValidationError) -> Response:
        names = ", ".join(sorted({str(each["loc"][-1]) for each in error.errors()}))
        detail = f"Expected true or false for {names}."
        return _answer(service, RefusedError(422, "wrong query", detail))

    @app.exception_handler(ClientDisconnect)
    async def gone(*_) -> Response:
        service.metrics.refusals.labels("client gone").inc()
        return Response(status_code=CLIENT_GONE)

    @app.exception_handler(Exception)
    async def fault(*_) -> Response:
        detail = "The service failed at this request; its log says why."
        return _answer(service, RefusedError(500, "fault", detail))


def _add_open(app: fastapi.FastAPI, service: Service) -> None:
    """Add what is open to everybody."""
    page, policy = _page()

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def home() -> Response:
        return HTMLResponse(
            page,
            headers={
                "Content-Security-Policy": policy,
                "X-Content-Type-Options": "nosniff",
                "Referrer-Policy": "no-referrer",
                "Permissions-Policy": "camera=(self)",
                "Cache-Control": "no-cache",
            },
        )

    @app.get("/livez", response_model=StateModel, tags=["state"])
    async def alive() -> Response:
        """Say that the process answers."""
        return Json({"state": "alive"})

    @app.get(
        "/readyz", response_model=StateModel, tags=["state"], responses=_why_not(503)
    )
    async def ready() -> Response:
        """Say whether photos are answered now."""
        if refusal := service.refusal():  # No request that anybody is refused.
            return Json({"detail": refusal.detail}, 503, headers=refusal.headers)
        return Json({"state": "ready"})


def _add_guarded(app: fastapi.FastAPI, service: Service, token: str | None) -> None:
    """Add what the token is needed for, if there is one."""
    bearer = HTTPBearer(auto_error=False, description="The token of --token")

    async def check(
        sent: typing.Annotated[
            HTTPAuthorizationCredentials | None, fastapi.Depends(bearer)
        ],
    ) -> None:
        if token is None:
            return
        given = sent.credentials if sent else ""
        if not hmac.compare_digest(given.encode(), token.encode()):
            raise RefusedError(
                401,
                "token",
                "Expected the token of this service: Authorization: Bearer TOKEN.",
                {"WWW-Authenticate": "Bearer"},
            )

    guarded = fastapi.APIRouter(dependencies=[fastapi.Depends(check)])

    @guarded.post(
        "/predict",
        response_model=PredictionsModel,
        responses=_why_not(*WHY_NOT),
        openapi_extra=_UPLOAD,
    )
    async def predict(request: Request, heat_map: bool = False) -> Response:
        """Name the classes of one or several photos."""
        return Json({"predictions": await service.predict(request, heat_map)})

    @guarded.get("/model", response_model=AboutModel, responses=_why_not(401, 503))
    async def model() -> Response:
        """Say what answers here, and how well it does."""
        served = service.served
        if served is None:
            raise service.refusal()
        about = {name: served.about.get(name) for name in AboutModel.model_fields}
        return Json(
            about
            | {
                "class_names": [*served.class_names],
                "image_size": served.image_size,
                "explains": served.explains,
                "unknown": served.unknown is not None,
                "versions": dict(about["versions"] or {}),
            }
        )

    @guarded.get(
        "/metrics",
        response_class=Response,
        responses=_why_not(401)
        | {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
        tags=["state"],
    )
    async def metrics() -> Response:
        """Count requests and photos, in the form that Prometheus reads."""
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    @guarded.get("/openapi.json", include_in_schema=False)
    async def document() -> Response:
        return Json(app.openapi())

    app.include_router(guarded)


def _why_not(*statuses: int) -> dict:
    return {
        status: {"model": Problem, "description": WHY_NOT[status]}
        for status in statuses
    }


def _page() -> tuple[str, str]:
    """Return the page, and the policy by which its own scripts and styles run."""
    page = importlib.resources.files("keras_transfer.serving") / "page.html"
    page = page.read_text(encoding="utf-8")

    def hashes(tag: str) -> str:
        inside = re.findall(rf"<{tag}[^>]*>(.*?)</{tag}>", page, re.DOTALL)
        sums = [hashlib.sha256(each.encode()).digest() for each in inside]
        return " ".join(f"'sha256-{base64.b64encode(each).decode()}'" for each in sums)

    policy = (
        "default-src 'none'; connect-src 'self'; img-src 'self' blob: data:; "
        "media-src 'self' blob:; "
        f"script-src {hashes('script')}; style-src {hashes('style')}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return page, policy
