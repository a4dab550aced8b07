//! `simqat info`

use serde_json::json;
use simqat::Result;
use simqat::gpu::{AdapterSummary, adapters};

use super::Global;
use super::console::Console;
use super::session::open;
use super::table::Table;

pub fn run(global: &Global, console: &Console) -> Result<()> {
    let found = pollster::block_on(adapters());
    let gpu = open(global)?;
    let caps = gpu.caps();
    let is_chosen = |a: &AdapterSummary| a.name == caps.adapter.name && a.backend == caps.adapter.backend;

    let mut list = Table::default();
    list.row(["", "adapter", "kind", "backend", "driver"]);
    for a in &found {
        list.row([if is_chosen(a) { "*" } else { "" }, &a.name, &a.kind, &a.backend, &a.driver]);
    }
    let yes = |has: bool| if has { "yes" } else { "no" };
    let mut chosen = Table::default();
    let subgroup = caps.subgroup_size.map_or("none of one size".into(), |n| format!("{n} lanes"));
    chosen.row(["subgroups", &subgroup]);
    chosen.row(["timestamps", yes(caps.timestamps)]);
    chosen.row(["half precision", yes(caps.f16)]);
    chosen.row(["largest tensor", &format!("{} MiB", caps.max_binding_bytes >> 20)]);
    chosen.row(["workgroups", &format!("{} in each dimension", caps.max_groups)]);
    chosen.row(["workgroup size", &format!("{} invocations", caps.max_workgroup_size)]);
    console.result(&format!(
        "{}\n\nsimqat {} uses * {}\n{}",
        list.text(),
        env!("CARGO_PKG_VERSION"),
        caps.adapter.name,
        chosen.text()
    ))?;

    let object = |a: &AdapterSummary| {
        json!({
            "name": a.name, "kind": a.kind, "backend": a.backend, "driver": a.driver, "software": a.is_software,
        })
    };
    console.result_json(&json!({
        "adapters": found.iter().map(object).collect::<Vec<_>>(),
        "chosen": object(&caps.adapter),
        "subgroup_size": caps.subgroup_size,
        "timestamps": caps.timestamps,
        "f16": caps.f16,
        "max_binding_bytes": caps.max_binding_bytes,
        "max_groups": caps.max_groups,
        "max_workgroup_size": caps.max_workgroup_size,
    }))
}
