"""The configuration file is strict, and what it leaves out has a good default."""

import pytest

from nunet_node.quantities import Gpus, ResourceVector
from nunet_node.runtime.config import Config, ConfigError, parse_config, read_config

MACHINE = ResourceVector(cpu_millis=4000, memory_bytes=8 << 30, disk_bytes=1 << 40)


def test_an_empty_file_means_the_defaults(tmp_path):
    path = tmp_path / "node.toml"
    path.write_text("")
    assert read_config(path) == Config()
    assert Config().offer(MACHINE) == MACHINE
    assert Config().drain_s == 60


def test_amounts_are_read_with_their_units(tmp_path):
    path = tmp_path / "node.toml"
    path.write_text(
        'cpus = 1.5\nmemory = "2GiB"\ndisk = 1048576\nprice = 0.25\ndrain = "2m"\n'
        'listen = ["/ip4/127.0.0.1/tcp/0"]\nprovide = false\nmdns = false\n'
    )
    config = read_config(path)
    offered = ResourceVector(cpu_millis=1500, memory_bytes=2 << 30, disk_bytes=1 << 20)
    assert config.offer(MACHINE) == offered
    assert (config.price_micro_ntx, config.drain_s) == (250_000, 120)
    assert not config.provide


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("memroy = 1", "did you mean 'memory'"),
        ("zzzzzz = 1", "known: listen"),
        ('memory = "much"', "memory: 'much' is not a size"),
        ('disk = ["1GiB"]', "disk: "),
        ('cpus = "-1"', "processors"),
        ("price = -1", "price"),
        ('drain = "soon"', "duration"),
        ('listen = "/ip4/1.2.3.4/tcp/1"', "listen"),
        ("provide = 1", "provide"),
        ('http = ["127.0.0.1"]', "http: '127.0.0.1' is not a domain"),
        ('http = ["*"]', "http: '\\*' is not a domain"),
        ('http = "all"', "http"),
        ('http = "any"\nbackend = "slurm"', "http has no effect under backend slurm"),
        ('announce = ["/ip4/192.0.2.7/tcp/0"]', "announce: nobody can be told"),
        ("a = = b", "not TOML"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, text, message):
    path = tmp_path / "node.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_config(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.toml: No such file"):
        read_config(tmp_path / "nowhere.toml")


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "node.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not text"):
        read_config(path)


def test_the_source_stands_in_the_error():
    with pytest.raises(ConfigError, match=r"^options: "):
        parse_config({"cpu": 1}, "options")


@pytest.mark.parametrize(
    ("text", "domains"),
    [
        ("", ()),
        ("http = []", ()),
        ('http = "any"', ("*",)),
        ('http = ["pypi.example", "*.a.example"]', ("pypi.example", "*.a.example")),
    ],
)
def test_no_address_is_lent_unless_it_is_said(tmp_path, text, domains):
    path = tmp_path / "node.toml"
    path.write_text(text)
    assert read_config(path).domains == domains


RAY = 'backend = "ray"\n[cluster]\naddress = "http://10.0.0.5:8265"\n'


def test_a_cluster_is_described_in_a_table_of_its_own(tmp_path):
    path = tmp_path / "node.toml"
    path.write_text(
        'backend = "slurm"\n[cluster]\nlisten = "10.0.0.5:4050"\npartition = "main"\n'
        'account = "us"\nrunner = ["python", "-m", "x"]\npoll = "5s"\n'
        'pending = "1h"\n'
    )
    config = read_config(path)
    assert config.backend == "slurm"
    assert config.cluster.meets_at == ("10.0.0.5", 4050)
    assert config.cluster.runner == ("python", "-m", "x")


def test_the_gpus_of_a_cluster_are_described_as_a_job_asks_for_them(tmp_path):
    path = tmp_path / "node.toml"
    path.write_text(
        f'{RAY}gpus = {{ A100 = "vendor=nvidia,model=A100,vram=40GiB", "" = "model=T4" }}'
    )
    assert read_config(path).cluster.gpu_kinds == {
        "A100": Gpus(vendor="nvidia", model="A100", memory_bytes=40 << 30),
        "": Gpus(model="T4"),
    }


def test_who_offers_no_gpus_offers_none_of_a_cluster():
    room = ResourceVector(cpu_millis=1).with_gpus([Gpus(model="T4")])
    assert parse_config({"gpus": False}, "x").offer(room).gpu_kinds == ()
    assert parse_config({}, "x").offer(room) == room


@pytest.mark.parametrize(
    ("listen", "meets_at"),
    [("127.0.0.1:0", ("127.0.0.1", 0)), ("[fd00::5]:4050", ("fd00::5", 4050))],
)
def test_where_runners_dial_is_an_address_and_a_port(listen, meets_at):
    text = {"backend": "slurm", "cluster": {"listen": listen}}
    assert parse_config(text, "x").cluster.meets_at == meets_at


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('backend = "kubernetes"', "backend"),
        ('backend = "ray"', "backend ray needs address"),
        (f'{RAY}partition = "main"', "partition has no effect under backend ray"),
        (f'{RAY}adress = "x"', "cluster: no key is called 'adress'; did you mean"),
        (f'{RAY}poll = "often"', "cluster: 'often' is not a duration"),
        (f'{RAY}poll = "0s"', "poll has to be"),
        (f'{RAY}listen = "0.0.0.0:4050"', "machines of the cluster dial"),
        (f'{RAY}listen = "somewhere:4050"', "machines of the cluster dial"),
        (f'{RAY}listen = "10.0.0.5:99999"', "machines of the cluster dial"),
        (f'{RAY}listen = "10.0.0.5"', "machines of the cluster dial"),
        ('backend = "slurm"\n[cluster]\naddress = "x"', "address has no effect"),
        ('[cluster]\npartition = "main"', "no effect under backend local"),
        ("cluster = 3", "cluster"),
        (f'{RAY}gpus = {{ T4 = "vram=16" , T4b = "2" }}', "'T4b' is to be one GPU"),
        (f'{RAY}gpus = {{ T4 = "vendor=amd" }}', "one GPU of nvidia"),
        (f'{RAY}gpus = {{ T4 = "memory=16GiB" }}', "'memory=16GiB' says nothing"),
        (f'{RAY}gpus = {{ T4 = "vram=much" }}', "'much' is not a size"),
        (f"{RAY}gpus = {{ T4 = 16 }}", "Expected `str`"),
    ],
)
def test_a_wrong_word_on_a_cluster_is_named(tmp_path, text, message):
    path = tmp_path / "node.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_config(path)
