//! Counters of steps that are marked as frozen.

use super::super::{Case, Trial};
use crate::Result;
use crate::kernel::counter::{FROZEN, NEVER, freeze};

pub(super) const CASES: &[Case] =
    &[Case::new("counters", "freezing marks, unmarks and keeps the counts", freezing)];

fn freezing(t: &mut Trial<'_>) -> Result<()> {
    let counts = [0, 1, 900, NEVER];
    // One, and more than a workgroup that are no multiple of one.
    for length in [1, 131] {
        let many: Vec<u32> = (0..length).map(|i| counts[i % 4]).collect();
        let counters = t.words(&many)?;
        let marked: Vec<u32> = many.iter().map(|c| c | FROZEN).collect();
        for (frozen, expected) in [(true, &marked), (true, &marked), (false, &many), (false, &many)] {
            freeze(&counters, frozen)?;
            t.same(format!("{length} counters, frozen {frozen}"), &counters.read_u32()?, expected)?;
        }
    }
    Ok(())
}
