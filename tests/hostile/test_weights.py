"""Weights and checkpoints of strangers: each attempt is refused in one line, soon, and without taking the memory.

An attempt is mishandled if it ends in an error of another kind, in an error of several lines or of more than 2,000
characters, or takes longer than a few seconds.
"""

import json
import os
import pickle
import resource
import socketserver
import struct
import threading
import time
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch

from lightjax import WeightsError, load_model
from lightjax.networks import ConversionError, downloads, tensor_files, weights

Case = tuple[str, Callable[[], object]]


def mishandled(cases: list[Case], kind: type[Exception], seconds: float = 3) -> list[str]:
    """What went wrong with these attempts, each of which must end in such an error."""
    wrong = []
    for name, attempt in cases:
        start = time.monotonic()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                attempt()
            wrong.append(f"{name}: taken")
        except kind as error:
            if "\n" in str(error) or len(str(error)) > 2000 or not str(error).isprintable():
                wrong.append(f"{name}: {str(error)[:3000]!r}")
        except BaseException as error:
            wrong.append(f"{name}: {type(error).__name__} {error!s:.500}")
        if time.monotonic() - start > seconds:
            wrong.append(f"{name}: took {time.monotonic() - start:.1f} seconds")
    return wrong


def memory() -> float:
    """The most bytes of memory that this process has had."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


# PyTorch files

FIRST = "conv1_7x7_s2.weight"


def with_members(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
    """Save a checkpoint of one tensor, and exchange members of its archive."""
    torch.save({FIRST: torch.ones(2)}, path)
    with zipfile.ZipFile(path) as archive:
        old = {info.filename: archive.read(info) for info in archive.infolist()}
    new = {name: data for name, data in old.items() if name.partition("/")[2] not in members}
    new |= {f"{path.stem}/{name}": data for name, data in members.items()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in new.items():
            archive.writestr(name, data)


def with_pickle(code: bytes) -> Callable[[Path], None]:
    return lambda path: with_members(path, {"data.pkl": code})


def call(module: str, name: str, arguments: bytes) -> bytes:
    """A pickle that calls a function."""
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + arguments + b"\x85R."


def saved(content: object, **options) -> Callable[[Path], None]:
    return lambda path: torch.save(content, path, **options)


def forged_size(path: Path) -> None:
    """A member of 100 bytes whose entry in the directory says four gigabytes."""
    with_members(path, {"data/0": bytes(100)}, zipfile.ZIP_DEFLATED)
    data = path.read_bytes()
    place = data.rindex(b"PK\x01\x02")
    path.write_bytes(data[: place + 24] + struct.pack("<I", 0xFFFFFFFE) + data[place + 28 :])


def hidden_pickle(path: Path) -> None:
    """A pickle of the old format that ends in an archive, so that only one of two readers sees the archive."""
    with_members(path, {})
    path.write_bytes(call("builtins", "bytearray", b"\x8a\x05\x00\x00\x00\x00\x05") + path.read_bytes())


def self_containing() -> dict:
    state: dict = {}
    state["model"] = state
    return state


def nested(depth: int) -> dict:
    state: dict = {FIRST: torch.ones(2)}
    for _ in range(depth):
        state = {"state_dict": state}
    return state


def overwritten() -> dict[str, torch.Tensor]:
    tensor = torch.ones(2)
    tensor.detach = tensor.numpy = tensor.dtype_name = 3  # type: ignore[assignment]
    return {FIRST: tensor}


def torch_writers() -> Iterator[tuple[str, Callable[[Path], None]]]:
    big = 40_000_000
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        special = {
            "sparse": torch.ones(3, 3).to_sparse(),
            "quantized": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
            "meta": torch.empty(10**9, device="meta"),
            "float8": torch.ones(3).to(torch.float8_e4m3fn),
            "complex": torch.ones(3, dtype=torch.complex64),
            "one number repeated ten billion times": torch.ones(1).expand(10**5, 10**5),
            "one half repeated": torch.ones(1).half().expand(10**10),
            "nan": torch.full((2,), torch.nan),
            "above float32": torch.full((2,), 1e300, dtype=torch.float64),
            "no dimension": torch.tensor(1.0),
            "no row": torch.ones(0, 3),
            "twenty dimensions": torch.ones([1] * 20),
        }
    for name, tensor in special.items():
        yield name, saved({FIRST: tensor})
        yield f"{name}, in the matrix", saved({"loss3_classifier.weight": tensor})
        yield f"{name}, wrapped", saved({"model": {"module.x": tensor, f"module.{FIRST}": torch.ones(1)}})
    yield "deflated zeros", lambda path: with_members(path, {"data/0": bytes(big)}, zipfile.ZIP_DEFLATED)
    yield "deflated pickle", lambda path: with_members(path, {"data.pkl": b"]" * big}, zipfile.ZIP_DEFLATED)
    yield "a forged size", forged_size
    yield "an upper-case name", lambda path: with_members(path, {"DATA.PKL": b"]" * 10**6, "data.pkl": b"}."})
    yield "a million lists", with_pickle(b"\x80\x02" + b"]" * 10**6 + b".")
    yield "a million marks", with_pickle(b"\x80\x02" + b"(" * 10**6 + b".")
    yield "a million tuples as a key", with_pickle(b"\x80\x02})" + b"\x85" * 10**6 + b"K\x01s.")
    yield "hidden pickle", hidden_pickle
    forty_gb = b"\x8a\x05\x00\x00\x00\x00\x0a"
    for module, name in (
        ("builtins", "bytearray"),
        ("__builtin__", "bytearray"),
        ("posix", "system"),
        ("builtins", "eval"),
    ):
        yield f"{module}.{name}", with_pickle(call(module, name, forty_gb))
    for name in ("FloatStorage", "Tensor", "DoubleTensor", "Size"):
        yield f"torch.{name}", with_pickle(call("torch", name, forty_gb))
    yield "codec", with_pickle(b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00hex\x86R.")
    yield "itself", saved(self_containing())
    yield "a hundred wrappers", saved(nested(100))
    attributes = b"".join(b"X%s%sK\x03" % (struct.pack("<I", len(name)), name) for name in (b"items", b"get", b"keys"))
    yield "overwritten methods", with_pickle(b"\x80\x02ccollections\nOrderedDict\n)R}(" + attributes + b"ub.")
    yield "overwritten attributes", saved(overwritten())
    yield "names", saved({1: torch.ones(1), None: 2, "a\nb\x1b[2J": torch.ones(1), "x" * 10**6: torch.ones(1)})
    yield "a line break in a prefix", saved({f"a\n\x07{'b' * 3000}.{FIRST}": torch.ones(1)})
    yield "a surrogate", with_pickle(b"\x80\x02}X\x03\x00\x00\x00\xed\xa0\x80K\x01s.")
    yield "three thousand tensors", saved({f"layer{i}.weight": torch.ones(1) for i in range(3000)})
    for content in ({}, [], (), None, 3, "text", torch.ones(3), {"state_dict": None}, {"state_dict": {}}, {"ema": 0.9}):
        yield f"{content!r:.20}", saved(content)
        yield f"{content!r:.20}, old", saved(content, _use_new_zipfile_serialization=False)
    for data in (
        b"",
        b"PK\3\4",
        b"PK\3\4" + bytes(1000),
        b"\x80\x02.",
        b"\x80\x02K\x01." * 5,
        b"hello.",
        b"\x89PNG",
        bytes(9),
    ):
        yield f"{data!r:.20}", lambda path, data=data: path.write_bytes(data)
    yield "TorchScript", lambda path: with_members(path, {"constants.pkl": b"\x80\x02).", "code/x.py": b""})
    yield "plain pickle", lambda path: path.write_bytes(pickle.dumps({FIRST: np.ones(2)}))
    state = {FIRST: torch.ones(20), "epoch": 3, "state_dict": {f"module.{FIRST}": torch.ones(3).half()}}
    generator = np.random.default_rng(0)
    for old in (False, True):
        for i in range(60):

            def damage(path, i=i, old=old):
                torch.save(state, path, _use_new_zipfile_serialization=not old)
                data = bytearray(path.read_bytes())
                if i % 3 == 0:
                    del data[generator.integers(len(data)) :]
                else:
                    for place in generator.integers(600 if i % 3 == 1 else len(data), size=3):
                        data[place] = generator.integers(256)
                path.write_bytes(data)

            yield f"damage {i}" + ", old" * old, damage


def test_checkpoints_of_strangers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tensor_files, "LARGEST", 30_000_000)
    cases, before = [], memory()
    for i, (name, write) in enumerate(torch_writers()):

        def attempt(path=tmp_path / f"{i}.pth", write=write):
            write(path)
            try:
                weights.convert(path, path.with_suffix(".safetensors"))
            finally:
                path.unlink()

        cases.append((name, attempt))
    wrong = mishandled(cases, ConversionError)
    print(f"{len(cases)} hostile checkpoints, {len(wrong)} mishandled")
    assert wrong == []
    assert len(cases) > 200
    assert list(tmp_path.iterdir()) == []
    assert memory() - before < 5e8


# safetensors files

METADATA = {"format": "lightjax", "architecture": "bvlc_googlenet", "classes": "1000", "sha256": "0" * 64}
ONE = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


def headed(header: object, data: bytes = b"abcd", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def described(metadata: object = METADATA, **tensors: object) -> bytes:
    return headed({"__metadata__": metadata, **tensors})


def safetensors_contents() -> Iterator[tuple[str, bytes]]:
    deep = "[" * 100_000 + "]" * 100_000
    for dtype, shape, size in (
        *(("F8_E4M3", [4], 4), ("F8_E5M2", [4], 4), ("F8_E8M0", [4], 4), ("F4", [8], 4), ("F6_E2M3", [4], 3)),
        *(("BF16", [2], 4), ("F64", [1], 8), ("C64", [1], 8), ("BOOL", [4], 4), ("I8", [4], 4), ("I64", [1], 8)),
        *(("Q9", [1], 4), (3, [1], 4), (None, [1], 4), ("F32", [-1], 4), ("F32", [5], 4), ("F32", [1.0], 4)),
        *(("F32", "1", 4), ("F32", None, 4), ("F32", [2**40, 2**40], 4), ("F32", [2**63, 0], 0), ("F32", [2**70], 4)),
        *(("F32", [0, 2**62, 2**62], 0), ("F32", [2**62, 2**62, 0], 0), ("F32", [1] * 100, 4), ("F32", [[1]], 4)),
    ):
        tensor = {"dtype": dtype, "shape": shape, "data_offsets": [0, size]}
        for name in ("conv2d0/bias", "softmax2_pre_activation_matmul/kernel", FIRST):
            yield f"{name} {dtype} {shape!r:.30}", headed({"__metadata__": METADATA, name: tensor}, bytes(size))
    for offsets in ([-4, 0], [4, 0], [0, 5], [4, 8], [0, 2**64], [0], [], None, "0", [0.0, 4.0], [2**64 - 4, 2**64]):
        yield f"offsets {offsets}", described(a=ONE | {"data_offsets": offsets})
    for metadata in (None, [], 3, {"a": 1}, {"a": None}, {"a": {}}, {}, {"format": "pt"}, {"format": "lightjax"}):
        yield f"metadata {metadata}", described(metadata, a=ONE)
    for key in METADATA:
        yield f"without {key}", described({k: v for k, v in METADATA.items() if k != key}, a=ONE)
        for value in (
            deep,
            "",
            "-1",
            "1e9",
            "null",
            "\u0663",
            "9" * 10_000,
            "x\n\x1b[2J",
            "../../etc/passwd",
            "NaN",
            "true",
        ):
            yield f"{key} {value!r:.20}", described(METADATA | {key: value}, a=ONE)
    for names in (deep, "{", "{}", "null", "[1]", '["a"]', json.dumps([None] * 1000), json.dumps(["a"] * 999), '"abc"'):
        yield f"class names {names!r:.20}", described(METADATA | {"class_names": names}, a=ONE)
    yield "names that overlap", described(a=ONE, b=ONE)
    yield "names twice", headed(b'{"a":%s,"a":%s}' % (json.dumps(ONE).encode(), json.dumps(ONE).encode()))
    yield "a name of a megabyte", described(**{"x" * 10**6: ONE})
    yield "a name of control characters", described(**{"a\n\x1b[2J\u202e": ONE})
    yield "a hole", headed({"a": ONE}, bytes(8))
    yield (
        "ten thousand names",
        described(**{f"t{i}": ONE | {"shape": [0], "data_offsets": [0, 0]} for i in range(9999)}),
    )
    for length in (0, 1, 2**31, 2**63, 2**64 - 1, 99_000_000):
        yield f"a header of {length}", headed({"a": ONE}, length=length)
    for text in (
        b"[]",
        b"null",
        b"3",
        b"{",
        b"{}",
        b'{"a":1}',
        b'{"\xff":1}',
        b'{"\\ud800":1}',
        b"\xef\xbb\xbf{}",
        b" {}",
    ):
        yield f"{text!r}", headed(text)
    yield "deep metadata", headed(b'{"__metadata__":' + deep.encode() + b"}")
    yield "deep tensor", headed(b'{"a":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001)
    whole = described(**{"conv2d0/bias": ONE})
    generator = np.random.default_rng(0)
    for i in range(100):
        damaged = bytearray(whole)
        for place in generator.integers(len(whole), size=1 + i % 3):
            damaged[place] = generator.integers(256)
        yield f"damage {i}", bytes(damaged)
    for i in range(0, len(whole), 10):
        yield f"cut {i}", whole[:i]


def edited(change: Callable[[dict[str, np.ndarray]], object]) -> Callable[[Path], None]:
    """The network that comes with lightjax, with some parameters changed."""

    def write(path: Path) -> None:
        parameters = safetensors.numpy.load_file(weights.EMBEDDED["bvlc_googlenet"])
        change(parameters)
        safetensors.numpy.save_file(parameters, path, METADATA)

    return write


def holes(path: Path) -> None:
    """A tensor of 40 GB that takes no place on the disk."""
    size = 40 * 10**9
    path.write_bytes(described(a={"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]})[:-4])
    os.truncate(path, path.stat().st_size + size)


def test_weights_files_of_strangers(tmp_path):
    def putting(name: str, data: bytes) -> tuple[str, Callable[[Path], object]]:
        return name, lambda path: path.write_bytes(data)

    bias, matrix = "conv2d0/bias", "softmax2_pre_activation_matmul/kernel"
    writers = [
        *(putting(*content) for content in safetensors_contents()),
        ("40 GB of holes", holes),
        ("nan", edited(lambda p: p[bias].fill(np.nan))),
        ("wide", edited(lambda p: p.update({bias: p[bias].astype(float)}))),
        ("whole numbers", edited(lambda p: p.update({bias: p[bias].astype(int)}))),
        ("one more class", edited(lambda p: p.update({matrix: np.ones((1024, 1001), np.float32)}))),
        ("turned", edited(lambda p: p.update({matrix: p[matrix].T.copy()}))),
        ("one more tensor", edited(lambda p: p.update({"x" * 10_000: p[bias]}))),
    ]
    loads, conversions, before = [], [], memory()
    for i, (name, write) in enumerate(writers):
        path = tmp_path / f"{i}.safetensors"

        def load(path=path, write=write):
            write(path)
            return load_model(path)

        def convert(path=path):
            with open(path, "r+b") as file:  # no longer a file of lightjax, which would be refused as such
                start = file.read(10_000)
                file.seek(0)
                file.write(start.replace(b'"lightjax"', b'"lightpax"'))
            try:
                weights.convert(path, tmp_path / "out.safetensors")
            finally:
                path.unlink()

        loads.append((name, load))
        conversions.append((name, convert))
    wrong = mishandled(loads, WeightsError)
    wrong += mishandled(conversions, ConversionError)
    print(f"{len(loads) + len(conversions)} hostile safetensors files, {len(wrong)} mishandled")
    assert wrong == []
    assert len(loads) > 300
    assert list(tmp_path.iterdir()) == []
    assert memory() - before < 5e8


# Downloads


def http(*headers: str, status: str = "200 OK", body: bytes = b"") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode() + body


ZEROS = zlib.compress(bytes(20_000_000))

ANSWERS: dict[str, tuple[bytes, bytes, float]] = {
    # What is sent at once, what is sent again and again after it, and the seconds between.
    "body without end": (http(), bytes(10_000), 0),
    "more than it says": (http("Content-Length: 1000000000000"), bytes(10_000), 0),
    "chunks without end": (http("Transfer-Encoding: chunked"), b"1000\r\n" + bytes(4096) + b"\r\n", 0),
    "body that drips": (http("Content-Length: 1000000"), b"x", 0.02),
    "chunks that drip": (http("Transfer-Encoding: chunked"), b"1\r\nx\r\n", 0.02),
    "size of a chunk that drips": (http("Transfer-Encoding: chunked"), b"0", 0.02),
    "headers that drip": (b"HTTP/1.1 200 OK\r\n", b"x", 0.02),
    "headers without end": (b"HTTP/1.1 200 OK\r\n", b"a: b\r\n" * 100, 0),
    "a header without end": (b"HTTP/1.1 200 OK\r\na: ", b"x" * 1000, 0),
    "interim answers without end": (b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.02),
    "silence": (b"", b"", 0.1),
    "silence in the body": (http("Content-Length: 1000000", body=b"abc"), b"", 0.1),
    "unpacks to 20 MB": (http("Content-Encoding: deflate", f"Content-Length: {len(ZEROS)}", body=ZEROS), b"", -1),
    "packed badly": (http("Content-Encoding: gzip", "Content-Length: 6", body=b"abcdef"), b"", -1),
    "nothing": (b"", b"", -1),
    "an empty body": (http("Content-Length: 0"), b"", -1),
    "no content": (http(status="204 No Content"), b"", -1),
    "cut": (http("Content-Length: 1000", body=b"abc"), b"", -1),
    "no HTTP": (b"hello\r\n\r\n", b"", -1),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(100), b"", -1),
    "a status that is no number": (http(status="abc OK"), b"", -1),
    "a status of many digits": (http(status="9" * 5000), b"", -1),
    "an error": (http(status="500 No"), b"", -1),
    "a length that is no number": (http("Content-Length: abc", body=b"abc"), b"", -1),
    "a negative length": (http("Content-Length: -5", body=b"abc"), b"", -1),
    "two lengths": (http("Content-Length: 3", "Content-Length: 4", body=b"abc"), b"", -1),
    "chunks that are none": (http("Transfer-Encoding: chunked", body=b"xyz\r\nabc"), b"", -1),
    "a negative chunk": (http("Transfer-Encoding: chunked", body=b"-5\r\nabc"), b"", -1),
    "a circle": (http("Location: /", "Content-Length: 0", status="302 Found"), b"", -1),
    "to a file": (http("Location: file:///etc/passwd", status="302 Found"), b"", -1),
    "to another scheme": (http("Location: gopher://x/", status="302 Found"), b"", -1),
    "to no URL": (http("Location: http://[::1", status="302 Found"), b"", -1),
    "to no host": (http("Location: http:///", status="302 Found"), b"", -1),
    "to a port too far": (http("Location: http://127.0.0.1:999999/", status="302 Found"), b"", -1),
    "to odd letters": (http("Location: http://\xff\xfe.\x00/", status="302 Found"), b"", -1),
    "the wrong file": (http("Content-Length: 3", body=b"abc"), b"", -1),
}


@pytest.fixture
def serve():
    """Start a server that gives one of these answers to everybody; its port."""
    done, servers = threading.Event(), []

    def start(first: bytes, again: bytes, pause: float) -> int:
        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                try:
                    self.request.recv(4096)
                    self.request.sendall(first)
                    while pause >= 0 and not done.wait(pause):
                        self.request.sendall(again)
                except OSError:
                    pass

        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads, server.block_on_close = True, False
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return server.server_address[1]

    yield start
    done.set()
    for server in servers:
        server.shutdown()
        server.server_close()


def test_downloads_from_strangers(tmp_path, monkeypatch, serve):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name in ("LIGHTJAX_HOME", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(downloads, "PATIENCE", 0.3)
    monkeypatch.setattr(downloads, "PACE", 1000)

    def attempt(answer: tuple[bytes, bytes, float]) -> object:
        return downloads.find(downloads.Checkpoint("x", f"http://127.0.0.1:{serve(*answer)}/", "0" * 40, most=300_000))

    cases: list[Case] = [(name, lambda answer=answer: attempt(answer)) for name, answer in ANSWERS.items()]
    before = memory()
    wrong = mishandled(cases, WeightsError)
    print(f"{len(cases)} hostile downloads, {len(wrong)} mishandled")
    assert wrong == []
    assert memory() - before < 1e8
    assert list((tmp_path / "lightjax").iterdir()) == []
