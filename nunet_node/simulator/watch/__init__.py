"""Who watches a run from outside: promises, measures, trace and transcript."""
