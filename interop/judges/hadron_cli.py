"""Judge: `hadron fs` beside Hadoop's own shell on the same cluster: same output, same errors, same exit codes."""

import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from lib import fetch  # noqa: E402
from lib.java import JavaShell  # noqa: E402
from lib.judge import Judge  # noqa: E402
from lib.shell_script import COMMANDS, make_local, outcome, words  # noqa: E402


def main():
    judge = Judge(__doc__)
    java, class_path = judge.fetch(fetch.java_client, "3.3.4")
    bases = {"java": "/judge-cli-java", "ours": "/judge-cli-ours"}
    locals_ = {}
    for side in bases:
        locals_[side] = os.path.join(judge.scratch, side)
        make_local(locals_[side])

    with judge.cluster() as url, JavaShell(java, class_path, url, judge.scratch) as shell:
        environment = {key: value for key, value in os.environ.items() if key != "HADOOP_CONF_DIR"}
        for line in COMMANDS.strip().splitlines():
            results = {}
            for side, base in bases.items():
                arguments = words(line, base, locals_[side])
                if side == "java":
                    code, out, err = shell(*arguments)
                else:
                    done = subprocess.run([judge.hadron, "fs", "-fs", url, *arguments], input=b"typed in\n", capture_output=True,
                                          timeout=60, env=environment, cwd=judge.scratch)
                    code, out, err = done.returncode, done.stdout.decode(), done.stderr.decode()
                results[side] = outcome(line, code, out, err, base, locals_[side], url)
            judge.check(line, results["java"] == results["ours"], f"\n    hadoop {results['java']}\n    hadron {results['ours']}")
    judge.finish()


if __name__ == "__main__":
    main()
