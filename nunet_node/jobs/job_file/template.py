"""The job file that a newcomer starts from: every option, with its default.

Rule: it is a job file itself, and a test reads it as one.
"""

from typing import Final

TEMPLATE: Final = """\
# A job for nunet-node. Check it with: nunet-node spec validate FILE
# Run it with:                         nunet-node submit FILE
version: 1

# What to call it, in lists and in the name of the result's directory.
name: my-job

# What to run: one of script, module and command.
script: main.py                 # Python, in a WebAssembly sandbox
# module: tool.wasm             # a WASI module
# command: [sort, words.txt]    # a native command, in bubblewrap
# engine: python                # python, wasm, process or container
# image: root.tar               # the command's own root file system; or, for a
#                               # container, the name of an image of the provider

# What must keep it from the machine (wasm, process or container), and what it may
# reach: nothing; or, for a command, these domains by its provider's proxy.
# isolation: wasm
# network: none
# network: {http: [pypi.example, "*.data.example"]}

# Words handed to the script or module.
args: []

# Files and directories to bring: PATH, or PATH:DEST in the job's directory.
# Paths are taken from this file's directory. The script is brought by itself.
inputs: []

# Files to keep, from the job's directory; ** matches at any depth.
# Without this every new file is kept.
# outputs: ["out/**"]

# Who can read the result: sealed, its owner alone; or public, everybody.
results: sealed

# How long the result is kept, and how many copies of it at other nodes, for when
# the one that ran the job is gone.
retention: 30d
replicas: 0

# How often to run it; each run sees NUNET_PARTITION_INDEX and _COUNT.
# count: 4

# Environment variables.
env: {}

# Values that nobody but the job may know: files in /run/secrets there. Say where they
# are here, in a variable of your environment or in a file; never what they are.
# secrets:
#   API_TOKEN: {env: API_TOKEN}
#   KEY: {file: key.pem}

# What it needs. It is stopped if it takes more.
resources:
  cpus: 1
  memory: 256MiB
  disk: 128MiB
  # gpu: {count: 1, vendor: nvidia, model: H100, vram: 40GB}   # or a number: any

# How long it may run, and how long it may wait for room.
timeouts:
  run: 1h
  queue: 7d

# Runs in all, and the ends after which to try again: lost, failed.
# More than one says that running twice does no harm.
retry:
  attempts: 1
  on: [lost]

# Whether somebody to whom that was delegated may cancel the job too.
# cancel_delegable: true

# Highest acceptable price of one CPU-hour, in NTX. Any price without this.
# max_price: 3

# Which of your identities owns the job.
# identity: default
"""
