"""What androguard reads in a package, as JSON; run by itself, with androguard's packages and no others."""

from __future__ import annotations

import json
import sys
from typing import Any

ANDROID = "{http://schemas.android.com/apk/res/android}"
COMPONENTS = ("activity", "service", "receiver", "provider", "instrumentation")


def read_package(path: str) -> dict[str, Any]:
    """Return the package's facts: manifest, signatures, classes that it has and types that it names."""
    from androguard.core.apk import APK  # type: ignore[import-not-found]
    from androguard.core.dex import DEX  # type: ignore[import-not-found]

    apk = APK(path)
    manifest = apk.get_android_manifest_xml()
    named = [n.get(f"{ANDROID}name") for kind in COMPONENTS for n in manifest.iter(kind)]
    whole = [apk.get_package() + name if name.startswith(".") else name for name in named]
    classes: list[str] = []
    types: set[str] = set()
    for data in apk.get_all_dex():
        dex = DEX(data)
        classes += dex.get_classes_names()
        types |= {dex.get_cm_type(n).lstrip("[") for n in range(dex.header.type_ids_size)}
    return {
        "package": apk.get_package(),
        "min_sdk": apk.get_min_sdk_version(),
        "target_sdk": apk.get_target_sdk_version(),
        "permissions": sorted(apk.get_permissions()),
        "components": sorted(whole),
        "schemes": [apk.is_signed_v1(), apk.is_signed_v2(), apk.is_signed_v3()],
        "classes": classes,
        "types": sorted(t for t in types if t.startswith("L")),
    }


if __name__ == "__main__":
    from loguru import logger  # type: ignore[import-not-found]

    logger.remove()  # it would tell every step
    sys.stdout.write(json.dumps(read_package(sys.argv[1])))
