"""Where a model comes from: its folder, the cache or the hub; checked within seconds, before it is loaded.

Transformers alone would retry an unreachable hub for a minute, and report a missing folder as a malformed name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from guardrail.errors import ModelError

_PATIENCE = 5.0
"""Seconds to wait for a connection to the hub, and for its answer."""
_OPTIONS = {"trust_remote_code": False}
"""Not told, transformers asks on stdin, and a yes there runs whatever came with the checkpoint."""
_FOLDER = "name the folder of a model in Hugging Face format, such as ./my-model"


def options(source: str | Path, revision: str | None) -> dict[str, Any]:
    """Return the arguments, besides the name, with which transformers finds a model, and never runs code of its own.

    Args:
        source: folder, or hub id.
        revision: branch, tag or commit of a hub model; None: its main branch.

    Raises:
        ModelError: there is no such folder, or the model must be downloaded and cannot be.
    """
    if Path(source).is_dir():
        return dict(_OPTIONS)
    if isinstance(source, Path) or _is_path(source):
        if Path(source).is_file():
            raise ModelError(f"cannot load {source!s}: it is a file; name the folder that it is in")
        raise ModelError(f"there is no folder {source!s}: {_FOLDER}, or a hub id like owner/name")
    reason = _unreachable(source, revision)
    if reason is None:
        return {**_OPTIONS, "revision": revision}
    if _cached(source, revision) is None:
        raise ModelError(
            f"cannot load {source}: there is no such folder here, so its weights have to be downloaded, and {reason}; "
            f"connect, or {_FOLDER}"
        )
    return {**_OPTIONS, "revision": revision, "local_files_only": True}


def _is_path(source: str) -> bool:
    return source.startswith((".", "/", "~")) or source.count("/") > 1 or Path(source).exists()


def _unreachable(source: str, revision: str | None) -> str | None:
    """Ask the hub once for a model; return why it cannot be reached, or None if it can.

    Raises:
        ModelError: the hub has no such model or revision, or gives it only to some.
    """
    import httpx
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        OfflineModeIsEnabled,
        RemoteEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        get_hf_file_metadata(hf_hub_url(source, "config.json", revision=revision), timeout=_PATIENCE)
    except OfflineModeIsEnabled:
        return "HF_HUB_OFFLINE forbids that"
    except httpx.TransportError as error:
        return f"no connection to {constants.ENDPOINT} could be made ({type(error).__name__})"
    except HFValidationError as error:
        raise ModelError(
            f"there is no folder {source}, and it is no hub id either: {_FOLDER}, or owner/name"
        ) from error
    except GatedRepoError as error:
        raise ModelError(
            f"cannot load {source}: the hub gives it to those only who accepted its terms: do so on its page, then log "
            "in by `hf auth login`"
        ) from error
    except RevisionNotFoundError as error:
        raise ModelError(f"cannot load {source}: the hub has no revision {revision!r} of it") from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"there is no folder {source}, and {constants.ENDPOINT} has no such model: check the hub id (if it is "
            f"private, log in by `hf auth login`), or {_FOLDER}"
        ) from error
    except RemoteEntryNotFoundError:
        return None  # a hub's model without config.json: transformers knows other kinds
    except HfHubHTTPError as error:
        return f"{constants.ENDPOINT} answers with status {error.response.status_code}"
    return None


def commit(source: str, revision: str | None) -> str:
    """Return the commit of a model that was loaded, from its place in the cache; else its revision.

    Raises:
        ModelError: the cache does not have it, and no revision was given.
    """
    found = _cached(source, revision)
    if found is None and revision is None:
        raise ModelError(f"cannot tell which commit of {source} was loaded: give its revision")
    return found or str(revision)


def _cached(source: str, revision: str | None) -> str | None:
    """Return the commit of a model in the cache; None: the cache does not have it."""
    from huggingface_hub import try_to_load_from_cache

    file = try_to_load_from_cache(source, "config.json", revision=revision)
    return Path(file).parent.name if isinstance(file, str) else None
