import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))  # `histories`, also for tests of what is built on the checker
