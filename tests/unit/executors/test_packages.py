"""Scripts import the wheels and packages that were brought beside them."""

import io
import zipfile

from tests.executors_kit import an_order, attempt

IMPORTS = b"import told; print(told.WORD, told.__file__)"


def wheel(word: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("told/__init__.py", f"WORD = {word!r}\n" * 50)
        archive.writestr("told-1.0.dist-info/METADATA", "Name: told\nVersion: 1.0\n")
    return content.getvalue()


async def printed(files: dict[str, bytes], **order: object) -> bytes:
    ran = await attempt(an_order("python", "main.py", **order), files)
    return ran.stdout or ran.stderr


async def test_a_wheel_among_the_inputs_is_importable():
    name = "told-1.0-py3-none-any.whl"
    said = await printed({"main.py": IMPORTS, name: wheel("zipped")})
    assert said == f"zipped /job/{name}/told/__init__.py\n".encode()


async def test_packages_in_a_directory_are_importable():
    files = {"main.py": IMPORTS, "site-packages/told/__init__.py": b"WORD = 'laid'"}
    assert (await printed(files)).startswith(b"laid /job/site-packages/told")


async def test_a_package_beside_the_script_is_importable():
    files = {"main.py": IMPORTS, "told.py": b"WORD = 'beside'"}
    assert (await printed(files)).startswith(b"beside")


async def test_what_the_job_says_of_its_path_comes_first():
    files = {
        "main.py": IMPORTS,
        "own/told.py": b"WORD = 'own'",
        "told-1.0-py3-none-any.whl": wheel("zipped"),
    }
    said = await printed(files, env=(("PYTHONPATH", "/job/own"),))
    assert said.startswith(b"own")


async def test_a_wheel_further_down_is_a_file_like_any_other():
    files = {"main.py": IMPORTS, "data/told-1.0-py3-none-any.whl": wheel("zipped")}
    assert b"No module named" in await printed(files)
