//! What every room needs: names, box.yaml, paths, durable files, limits, logging, time.
