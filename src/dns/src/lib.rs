//! What the zone says and why; keys; signing; handing over to NSD.
