"""nginx: the machine's own, else Debian's package unpacked, with the Lua module where there is one.

Without the module everything works but the mode that needs no reload; the machine's own nginx is therefore taken only
if the module lies beside it, or if Debian's packages cannot be had.
"""

import re
from pathlib import Path

from tools.parts import debian
from tools.parts.part import Part
from tools.parts.places import BIN, ROOT, TOOLS, digest, link, on_path, stamp, stamped
from tools.parts.running import UnavailableError, ask

_OLDEST = (1, 18)
_FOLDER = TOOLS / "nginx"
_PACKAGES = ("nginx", "libnginx-mod-http-lua")
_LUA = "ngx_http_lua_module.so"
_MACHINE = Path("/usr/lib/nginx/modules")


def _pins() -> str:
    return digest(str(ROOT), Path(__file__), Path(debian.__file__))


def _answers(program: str | Path) -> str | None:
    """Return the version, when it is recent enough; nginx prints it to its error output."""
    found = re.search(r"nginx/(\d+)\.(\d+)[.\d]*", ask(program, "-v"))
    return found.group(0).removeprefix("nginx/") if found and (int(found[1]), int(found[2])) >= _OLDEST else None


def _version() -> str | None:
    return _answers(BIN / "nginx") if stamped("nginx", _pins()) else None


def _obtain() -> None:
    machine = on_path("nginx", "/usr/sbin/nginx")
    whole = machine is not None and (_MACHINE / _LUA).exists()
    if machine is None or not whole:
        try:
            debian.unpack(_PACKAGES, _FOLDER, with_dependencies=True)
        except UnavailableError as error:
            if machine is None or not _answers(machine):
                raise UnavailableError(
                    f"{error}\n  Install nginx 1.18 or newer, so that `nginx` is on PATH."
                ) from error
        else:
            debian.write_starter("nginx", _FOLDER, _FOLDER / "usr" / "sbin" / "nginx")
            stamp("nginx", _pins())
            return
    link("nginx", Path(machine))
    stamp("nginx", _pins())


NGINX = Part("nginx", "the article's proxy, with its Lua module", _version, _obtain)
