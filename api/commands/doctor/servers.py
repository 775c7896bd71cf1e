"""What `assistant doctor` hears from HTTP servers: our own web page, and the model server."""

from __future__ import annotations

from urllib.parse import urlsplit

from api.commands.doctor.finding import Finding, fail, ok, warn
from core.models.errors import ModelError
from core.models.servers.catalog import ModelInfo, choose, list_models, normal_base
from core.models.servers.discovery import Server, discover
from core.models.servers.servers import NEEDS_KEY, NO_CHAT_MODEL
from core.models.wire.transport import Transport, open_transport
from core.settings.groups import ModelSettings

SECONDS = 3.0
SHOWN = 3


async def server_findings(url: str, model: ModelSettings, *, expected: bool) -> list[Finding]:
    """The web server (when one is ``expected`` to run) and the model server."""
    async with open_transport() as transport:
        findings = [await _web(transport, url)] if url or expected else []
        own_port = urlsplit(url).port if url else None
        return [*findings, await _model(transport, model, own_port)]


async def _web(transport: Transport, url: str) -> Finding:
    if not url:
        return warn("web", "no web server runs", "start it with `assistant up`")
    try:
        await transport.request_json("GET", f"{url}/healthz", seconds=SECONDS)
    except ModelError:
        fix = "restart the assistant; its messages say why the web process stopped"
        return fail("web", f"nothing answers at {url}", fix)
    return ok("web", f"answers at {url}")


async def _model(transport: Transport, model: ModelSettings, own_port: int | None) -> Finding:
    """A list of models is enough: generating could take a minute and wake a sleeping model."""
    base_url = normal_base(model.base_url)
    if not base_url:
        found = await discover(transport, hosts=model.search_hosts, own_port=own_port)
        return discovered(found, model)
    key = model.api_key.get_secret_value()
    try:
        models = await list_models(transport, base_url, api_key=key, seconds=SECONDS)
    except ModelError as error:
        fix = "start the model server, or correct the address and key under Settings"
        return fail("model", f"{base_url}: {error.detail}", fix)
    return _listed(base_url, models, model.name)


def discovered(found: tuple[Server, ...], model: ModelSettings) -> Finding:
    """What to say of the servers that were found without an address."""
    wanted = model.name
    if not found:
        return warn(
            "model",
            f"no model server was found on {' or '.join(model.search_hosts) or 'any host'}",
            "start LM Studio, Ollama or llama.cpp, or set OPENAI_BASE_URL; "
            "`assistant demo` works without one",
        )
    if all(server.needs_key for server in found):
        detail = NEEDS_KEY.format(base_url=found[0].base_url)
        return fail("model", detail, "set OPENAI_BASE_URL and OPENAI_API_KEY, or use Settings")
    usable = [s for s in found if not s.needs_key]
    named = [s for s in usable if not wanted or wanted in [info.id for info in s.models]]
    server = (named or usable)[0]
    return _listed(server.base_url, server.models, wanted)


def _listed(base_url: str, models: tuple[ModelInfo, ...], wanted: str) -> Finding:
    ids = [info.id for info in models]
    if wanted and wanted not in ids:
        shown = ", ".join(ids[:SHOWN]) or "none"
        fix = "choose one of them under Settings, or load that model"
        return warn("model", f"{base_url} does not list {wanted} (it has {shown})", fix)
    chosen = wanted or getattr(choose(models), "id", "")
    if not chosen:
        return fail("model", f"{base_url} has no chat model", NO_CHAT_MODEL)
    return ok("model", f"{base_url} serves {chosen}")
