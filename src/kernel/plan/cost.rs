//! Cycles on a vector machine, per lane and value for loads and stores, per vector for arithmetic.

pub const LOAD_SCALAR: f64 = 7.0;
pub const LOAD_VEC4: f64 = 4.0;
pub const STORE_SCALAR: f64 = 7.0;
pub const STORE_VEC4: f64 = 4.0;
/// A multiply and an add (the driver does not fuse them). A long body leaves the cache of decoded instructions and then
/// runs no faster than it is fetched.
pub fn fma(body: u32) -> f64 {
    1.1 + 0.5 * body.min(1600) as f64 / 1600.0
}
pub const BROADCAST: f64 = 1.0;
/// Every variable that lives across loop iterations is blended with its old value once per iteration.
pub const CARRY: f64 = 1.5;
pub const WORKGROUP: f64 = 400.0;
pub fn load(width: u32) -> f64 {
    if width == 4 { LOAD_VEC4 } else { LOAD_SCALAR }
}
pub fn store(width: u32) -> f64 {
    if width == 4 { STORE_VEC4 } else { STORE_SCALAR }
}

/// What compiling costs, spread over two thousand runs: a kernel takes the driver about 0.3 ms for each multiply-add and
/// 12 ms for each load, which it expands lane by lane.
pub fn compile(fmas: u32, loads: u32) -> f64 {
    fmas as f64 * 500.0 + loads as f64 * 20_000.0
}
