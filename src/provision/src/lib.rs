//! Preflight, questions, plan, steps, upgrade; the Host trait.
