"""The server of pages: this machine alone, its folders alone, and pages that reach nothing else."""

from __future__ import annotations

import base64
import hashlib
import http.client
import io
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from pocketportrait.bundle import Bundle
from pocketportrait.cli import main
from pocketportrait.errors import InputError, MissingToolError
from pocketportrait.runtime.targets.command import Ran
from pocketportrait.runtime.targets.protocol import TargetError
from pocketportrait.runtime.web import vendor
from pocketportrait.runtime.web.portrait_page import portrait_page
from pocketportrait.runtime.web.server import (
    TOKEN_HEADER,
    LocalServer,
    content_security_policy,
    page_folder,
)
from pocketportrait.runtime.web.vendor import INSTALLED, PACKAGES, vendor_folder

PAGES = sorted(page_folder().glob("*.html"))
SCRIPTS = sorted(page_folder().glob("*.js"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LocalServer]:
    (tmp_path / "open").mkdir()
    (tmp_path / "open" / "a.json").write_text("{}")
    (tmp_path / "open" / ".hidden").write_text("no")
    (tmp_path / "open" / "leak").symlink_to(tmp_path / "secret")
    (tmp_path / "secret").write_text("no")
    places = {"out/one.npz": tmp_path / "given" / "one.npz"}
    with LocalServer({"files": tmp_path / "open"}, inbox=places.get) as found:
        yield found


def ask(
    server: LocalServer, path: str, method: str = "GET", body: bytes = b"", **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    host, _, port = server.origin.removeprefix("http://").partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=20)
    try:
        fields = {key.replace("_", "-"): value for key, value in headers.items()}
        connection.request(method, path, body or None, fields)
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def test_it_gives_pages_and_files_of_its_folders(server: LocalServer) -> None:
    answer, content = ask(server, "/")
    assert answer.status == 200
    assert b"Pocket Portrait" in content
    assert ask(server, "/files/a.json")[1] == b"{}"
    answer, _ = ask(server, "/page/engines.js")
    assert answer.headers["Content-Type"].startswith("text/javascript")


@pytest.mark.parametrize(
    "path",
    [
        *("/files/../secret", "/files/%2e%2e/secret", "/files/..%2fsecret", "/files//etc/passwd"),
        *("/files/leak", "/files/.hidden", "/files", "/files/", "/secret"),
        *("/page/../server.py", "/page/__pycache__/..", "/files/a.json/", "/files/a.json\\"),
    ],
)
def test_nothing_outside_its_folders_is_given(server: LocalServer, path: str) -> None:
    answer, content = ask(server, path)
    assert answer.status == 404
    assert content == b""


def test_a_request_that_names_another_host_is_refused(server: LocalServer) -> None:
    assert ask(server, "/", Host="portrait.example")[0].status == 403
    port = server.origin.rpartition(":")[2]
    assert ask(server, "/", Host=f"localhost:{port}")[0].status == 200


def test_a_file_is_taken_only_from_who_knows_the_token_and_only_where_one_is_awaited(
    server: LocalServer, tmp_path: Path
) -> None:
    token = {TOKEN_HEADER: server.token}
    for path, headers, status in (
        ("/inbox/out/one.npz", {}, 403),
        ("/inbox/out/one.npz", {TOKEN_HEADER: "0" * 32}, 403),
        ("/inbox/out/two.npz", token, 404),
        ("/inbox/../secret", token, 404),
        ("/files/a.json", token, 404),
    ):
        assert ask(server, path, "PUT", b"x", **headers)[0].status == status
    assert (tmp_path / "secret").read_text() == "no"
    assert ask(server, "/inbox/out/one.npz", "PUT", b"xyz", **token)[0].status == 204
    assert (tmp_path / "given" / "one.npz").read_bytes() == b"xyz"


def test_a_port_that_is_taken_is_named(server: LocalServer) -> None:
    port = int(server.origin.rpartition(":")[2])
    with pytest.raises(InputError, match=f"want a free one, got {port}"):
        LocalServer({}, port=port)


def test_every_answer_forbids_all_but_this_server(server: LocalServer) -> None:
    for path in ("/", "/files/a.json", "/nothing"):
        answer, _ = ask(server, path)
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self' 'wasm-unsafe-eval'")
        assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert answer.headers["Cross-Origin-Embedder-Policy"] == "require-corp"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_policy_lets_a_page_run_its_import_map_and_no_other_inline_script(page: Path) -> None:
    content = page.read_bytes()
    (inline,) = re.findall(rb"<script(?![^>]*\bsrc=)[^>]*>(.*?)</script>", content, re.S)
    digest = base64.b64encode(hashlib.sha256(inline).digest()).decode()
    policy = content_security_policy(content)
    assert f"'sha256-{digest}'" in policy
    for loose in ("'unsafe-inline'", "'unsafe-eval'", "*", "http:", "https:"):
        assert loose not in policy
    served = {f"/vendor/{p.folder}/{Path(f).name}" for p in PACKAGES for f in p.files}
    assert set(json.loads(inline)["imports"].values()) <= served
    assert b"style=" not in content
    assert re.search(rb"\son[a-z]+=", content) is None


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_scripts_import_what_is_served_and_name_no_other_machine(script: Path) -> None:
    text = script.read_text()
    assert re.search(r"https?://|\beval\(|innerHTML", text) is None
    for name in re.findall(r'from "([^"]+)"', text):
        assert (page_folder() / name.removeprefix("/page/")).is_file(), name


def test_engines_that_are_not_installed_say_how(tmp_path: Path) -> None:
    with pytest.raises(MissingToolError, match="pocketportrait targets install browser"):
        vendor_folder(tmp_path)


def test_the_page_takes_a_variant_that_a_browser_runs(tiny_bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / INSTALLED).write_text("{}")
    with portrait_page(tiny_bundle, home=tmp_path) as server:
        config = json.loads(ask(server, "/config.json")[1])
        assert (config["format"], config["precision"]) == ("onnx", "fp32")
        assert ask(server, config["photos"][0])[0].headers["Content-Type"] == "image/jpeg"
        manifest = json.loads(ask(server, "/bundle/manifest.json")[1])
        path = manifest["variants"]["onnx"]["fp32"]["graphs"]["motion"]["path"]
        digest = hashlib.sha256(ask(server, f"/bundle/{path}")[1]).hexdigest()
        assert digest == manifest["files"][path]["sha256"]
    with pytest.raises(InputError, match="want one of onnx, tflite, got 'coreml'"):
        portrait_page(tiny_bundle, format="coreml", home=tmp_path)
    with pytest.raises(InputError, match="fp8"):
        portrait_page(tiny_bundle, precision="fp8", home=tmp_path)


def packed(folder: Path, names: tuple[str, ...]) -> None:
    with tarfile.open(folder / "p.tgz", "w:gz") as archive:
        for name in names:
            member = tarfile.TarInfo(f"package/{name}")
            member.size = 3
            archive.addfile(member, io.BytesIO(b"abc"))


def test_a_package_of_npm_counts_only_with_its_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def npm(arguments: object, *, folder: Path, **_: object) -> Ran:
        packed(folder, ("dist/index.js", "extra.js"))
        return Ran(0, "", "")

    monkeypatch.setattr(vendor, "run_command", npm)
    monkeypatch.setattr(vendor.shutil, "which", lambda name: name)
    with pytest.raises(TargetError, match=r"onnxruntime-web@1\.30\.0: want sha256 .* another copy"):
        vendor.fetch_packages(tmp_path, lambda _: None)
    assert list(tmp_path.iterdir()) == []
    packed(tmp_path, ("dist/index.js", "extra.js"))
    digest = hashlib.sha256((tmp_path / "p.tgz").read_bytes()).hexdigest()
    package = vendor.Package("p", "1", digest, "p-folder", ("dist/index.js",))
    vendor._unpack(tmp_path / "p.tgz", package, tmp_path / "to")
    assert [file.name for file in (tmp_path / "to").iterdir()] == ["index.js"]


def test_npm_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vendor, "run_command", lambda *_, **__: Ran(1, "", "npm error 404\n"))
    monkeypatch.setattr(vendor.shutil, "which", lambda name: name)
    with pytest.raises(
        TargetError, match=r"npm pack onnxruntime-web@1\.30\.0 failed: npm error 404"
    ):
        vendor.fetch_packages(tmp_path, lambda _: None)


def test_the_command_serves_until_it_is_interrupted(tmp_path: Path) -> None:
    (tmp_path / "browser").mkdir()
    (tmp_path / "browser" / INSTALLED).write_text("{}")
    environment = os.environ | {"POCKETPORTRAIT_TARGETS": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    code = "import sys; from pocketportrait.cli import main; sys.exit(main(['web', '--no-open']))"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        # a shell's background job, which a CI may be, has Ctrl-C switched off and hands that on
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            origin = line.split()[1]
            with urllib.request.urlopen(f"{origin}/config.json", timeout=60) as answer:
                assert json.loads(answer.read())["format"] == "onnx"
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130
        finally:
            process.kill()
    assert "to this machine alone" in line


def test_without_engines_the_command_says_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POCKETPORTRAIT_TARGETS", str(tmp_path))
    assert main(["web", "--no-open"]) == 3
    assert "run: pocketportrait targets install browser" in capsys.readouterr().err
