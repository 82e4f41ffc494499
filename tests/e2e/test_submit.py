"""What `submit` promises to whoever waits for it."""

from tests.e2e.network import Node, User


def test_a_script_runs_and_its_result_comes_home(user: User, node: Node):
    user.write("hello.py", "print('hello'); open('made.txt', 'w').write('made')")
    done = user.submit("hello.py").must().document
    assert done["state"] == "completed"
