//! Any sequence of operations on an account, with changes by other programs and restarts between them, against a plain
//! model of it; three sessions look on and are told of changes by comparing images.
//!
//! What must hold after every step: the account shows exactly what the model says, each message is readable byte for
//! byte, UIDs ascend and come once in a UIDVALIDITY, modification sequences never go back, what sessions were told adds
//! up to what there is, and `fsck` has nothing to say.

#[path = "model/world.rs"]
mod world;

use proptest::prelude::*;
use world::{Step, World};

fn step() -> impl Strategy<Value = Step> {
    let pick = || any::<prop::sample::Index>();
    prop_oneof![
        6 => (pick(), 1u8..4, 0u8..32, 0u8..8).prop_map(|(folder, count, flags, words)| Step::Deliver { folder, count, flags, words }),
        8 => (pick(), any::<u16>(), 0u8..3, 0u8..32, 0u8..8)
            .prop_map(|(folder, which, change, flags, words)| Step::Flag { folder, which, change, flags, words }),
        4 => (pick(), any::<u16>(), pick(), any::<bool>())
            .prop_map(|(from, which, to, moving)| Step::Transfer { from, which, to, moving }),
        3 => (pick(), any::<Option<u16>>()).prop_map(|(folder, which)| Step::Expunge { folder, which }),
        2 => pick().prop_map(|name| Step::Create { name }),
        2 => (pick(), pick()).prop_map(|(from, to)| Step::Rename { from, to }),
        1 => pick().prop_map(|folder| Step::Delete { folder }),
        2 => proptest::option::of(pick()).prop_map(|folder| Step::BringBack { folder }),
        3 => (pick(), any::<bool>(), 0u8..32).prop_map(|(folder, new, flags)| Step::DropIn { folder, new, flags }),
        4 => (pick(), pick(), 0u8..32, 0u8..3)
            .prop_map(|(folder, message, flags, form)| Step::RenameFile { folder, message, flags, form }),
        2 => (pick(), pick()).prop_map(|(folder, message)| Step::RemoveFile { folder, message }),
        1 => pick().prop_map(|message| Step::PutFileBack { message }),
        2 => pick().prop_map(|folder| Step::Look { folder }),
        8 => (0usize..3).prop_map(|session| Step::CatchUp { session }),
        3 => (0usize..3, pick()).prop_map(|(session, folder)| Step::Select { session, folder }),
        1 => Just(Step::Reopen),
        1 => Just(Step::LoseIndex),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(),
        max_shrink_time: 60_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_sequence_of_operations_does_what_a_simple_model_says(steps in proptest::collection::vec(step(), 1..50)) {
        let mut world = World::new();
        for step in steps {
            world.take(&step);
        }
        world.finish();
    }
}

/// More of them can be asked for; a run of the tests has some twenty seconds for this.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(24)
}
