//! SMTP sessions, queue, delivery, transport security.
