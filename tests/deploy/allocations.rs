//! Running does not allocate: a host may call it from where that is forbidden.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use simqat::deploy::{CpuEngine, CpuOptions, Engine};

use super::models::{Random, lenet5, mixed};

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

/// The system's, counting what a thread asks for.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: all that is asked for is the system's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise, handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, handed on.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[test]
fn runs_after_the_first_allocate_nothing() {
    for (simd, model) in [(true, lenet5(1)), (true, mixed(1)), (false, mixed(2))] {
        let size: usize = model.input().shape.iter().product();
        let codes = Random::new(1).codes(3 * size, 8);
        let mut engine = CpuEngine::with_options(&model, CpuOptions { simd, threads: 1 }).unwrap();
        let mut output = Vec::new();
        engine.run(&codes, &mut output).unwrap();
        assert!(COUNT.get() > 0, "the allocator counts");
        for images in [3, 1, 2] {
            let before = COUNT.get();
            engine.run(&codes[..images * size], &mut output).unwrap();
            assert_eq!(COUNT.get() - before, 0, "{}, {images} images", model.name);
        }
    }
}
