// Counters of training steps, one for each channel of a layer's state. The highest bit marks a state that somebody
// has frozen; the rest counts.
const frozen_mark = 0x80000000u;

fn count_of(counter: u32) -> u32 { return counter & ~frozen_mark; }

// The counter behind a step of a training. Calibration, whose delay is the mark because no count reaches it, is no such step; but
// a state that it has seen is no fresh one any more.
fn counted(counter: u32, delay: u32) -> u32 {
  return select(counter + 1u, max(counter, 1u), delay == frozen_mark);
}

// True where the state stands still: it was marked, or it has seen the steps after which it shall. A marked counter is
// larger than any such number.
fn stands_still(counter: u32, freeze: u32) -> bool { return counter >= freeze; }
