//! JSON, Markdown and HTML say the same, and the JSON's summary is what its runs say.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::Value;

use crate::stubs::{BUPSTASH, Bench, DAYKEEP, RESTIC};

/// A scenario, a step and a tool.
pub type Key = (String, String, String);

/// The reports of a comparison in which things went well and badly.
pub struct Reports {
    pub results: Value,
    pub markdown: String,
    pub page: String,
}

/// Made once for all tests: it runs hundreds of processes.
pub static REPORTS: LazyLock<Reports> = LazyLock::new(|| {
    let bench = Bench::new().with_series();
    bench.stub("daykeep", DAYKEEP).stub("bupstash", BUPSTASH);
    let complaint = "echo '<b>no & \"never\"</b> | a|b' >&2";
    bench.stub("kopia", &format!("[ \"$1\" = --version ] && {{ echo 0.17.0; exit; }}; {complaint}; exit 1"));
    bench.stub("restic", &RESTIC.replace("backup) ", "backup) sleep 0.05; "));
    let tools = "daykeep-dir,daykeep-redb,restic,bupstash,kopia,conserve,cp,walk";
    let results = bench.results(3, &["--runs", "3", "--tools", tools]);
    Reports { results, markdown: bench.report("report.md"), page: bench.report("index.html") }
});

/// The figures of the summary, by scenario, step and tool.
pub fn figures(results: &Value) -> BTreeMap<Key, Value> {
    let mut found = BTreeMap::new();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    for scenario in results["summary"]["scenarios"].as_array().unwrap() {
        for step in scenario["steps"].as_array().unwrap() {
            for cell in step["cells"].as_array().unwrap() {
                let key = (text(&scenario["name"]), text(&step["step"]), text(&cell["tool"]));
                assert!(found.insert(key, cell["figures"].clone()).is_none());
            }
        }
    }
    found
}

/// Whether two numbers are the same but for the last digit, which is lost on the way through JSON.
pub fn same(a: Option<f64>, b: Option<f64>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => (a - b).abs() <= a.abs() * 1e-12,
        (None, None) => true,
        _ => false,
    }
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let begin = tag.find(&format!(" {name}=\""))? + name.len() + 3;
    Some(tag[begin..].split('"').next().unwrap().to_owned())
}

/// The values of `data-seconds` or `data-bytes` in the page; the bars of sizes and of growth have both the latter.
fn bars(page: &str, name: &str) -> Vec<(Key, f64, String)> {
    let tags = page.split('<').filter_map(|rest| rest.split_once('>')).map(|(tag, _)| tag);
    let found = tags.filter_map(|tag| {
        let value = attribute(tag, name)?.parse().unwrap();
        let key = (attribute(tag, "data-scenario")?, attribute(tag, "data-step")?, attribute(tag, "data-tool")?);
        Some((key, value, tag.split(' ').next().unwrap().to_owned()))
    });
    found.collect()
}

#[test]
fn the_summary_is_what_the_runs_say() {
    let results = &REPORTS.results;
    let mut times: BTreeMap<Key, Vec<f64>> = BTreeMap::new();
    for run in results["runs"].as_array().unwrap() {
        let text = |name: &str| run[name].as_str().unwrap().to_owned();
        let seconds = run["measures"]["seconds"].as_f64();
        times.entry((text("scenario"), text("step"), text("tool"))).or_default().extend(seconds);
    }
    let figures = figures(results);
    assert_eq!(figures.keys().collect::<Vec<_>>(), times.keys().collect::<Vec<_>>());
    for (key, mut seconds) in times {
        if key.2 == "kopia" {
            assert!(figures[&key].is_null());
            continue;
        }
        seconds.sort_by(f64::total_cmp);
        assert_eq!(seconds.len(), 3, "{key:?}");
        let said = |name: &str| figures[&key][name].as_f64();
        assert_eq!(
            (said("seconds_min"), said("seconds"), said("seconds_max")),
            (Some(seconds[0]), Some(seconds[1]), Some(seconds[2]))
        );
        let of = |tool: &str| {
            figures.get(&(key.0.clone(), key.1.clone(), tool.into())).and_then(|figures| figures["seconds"].as_f64())
        };
        for (name, other) in [("times_daykeep", "daykeep-dir"), ("times_cp", "cp")] {
            assert!(same(said(name), of(other).map(|other| seconds[1] / other)), "{key:?} {name}");
        }
    }
}

#[test]
fn the_page_shows_what_the_json_says() {
    let (page, figures) = (&REPORTS.page, figures(&REPORTS.results));
    let shown: BTreeMap<Key, f64> = bars(page, "data-seconds").into_iter().map(|bar| (bar.0, bar.1)).collect();
    let wanted: BTreeMap<Key, f64> =
        figures.iter().filter_map(|(key, figures)| Some((key.clone(), figures["seconds"].as_f64()?))).collect();
    assert_eq!(shown.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
    for (key, seconds) in shown {
        assert!(same(Some(seconds), Some(wanted[&key])), "{key:?}: {seconds}");
    }
    for (key, bytes, tag) in bars(page, "data-bytes") {
        let field = if tag == "rect" { "added_bytes" } else { "stored_bytes" };
        assert_eq!(figures[&key][field].as_f64(), Some(bytes), "{key:?}");
    }
    let drawn = |scenario: &str, step: &str, tool: &str| {
        bars(page, "data-bytes").iter().any(|(key, ..)| *key == (scenario.into(), step.into(), tool.into()))
    };
    assert!(drawn("media", "first", "restic") && drawn("chats", "day-02", "restic") && !drawn("chats", "day-02", "cp"));
    assert_eq!(page.matches("data-failed=\"true\"").count(), 5, "kopia in each scenario");
}

#[test]
fn the_page_needs_nothing_else_and_quotes_what_it_shows() {
    let page = &REPORTS.page;
    for foreign in ["<script", "http:", "https:", "<link", "url(", "@import", "<img", "javascript:"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    assert!(!page.contains("<b>no") && page.contains("&lt;b&gt;no &amp; &quot;never&quot;&lt;/b&gt;"));
    assert!(page.contains("bupstash (untried)") && page.contains("missing: not on this machine"));
}

#[test]
fn the_tables_show_what_the_json_says() {
    let Reports { results, markdown: report, page } = &*REPORTS;
    let mut rows = 0;
    for scenario in results["summary"]["scenarios"].as_array().unwrap() {
        let section = report.split("\n## ").find(|part| part.starts_with(scenario["title"].as_str().unwrap())).unwrap();
        for step in scenario["steps"].as_array().unwrap() {
            for cell in step["cells"].as_array().unwrap() {
                let tool = cell["tool"].as_str().unwrap();
                let begin = format!("| {} | {tool}", step["title"].as_str().unwrap());
                let row = section.lines().find(|line| {
                    line.strip_prefix(&begin)
                        .is_some_and(|rest| rest.starts_with(" |") || rest.starts_with(" (untried) |"))
                });
                let columns: Vec<&str> = row.unwrap().split(" | ").collect();
                assert_eq!(columns.len(), 12);
                rows += 1;
                let Some(seconds) = cell["figures"]["seconds"].as_f64() else {
                    assert_eq!(columns[2], "failed");
                    continue;
                };
                let written: f64 = columns[2].trim_end_matches(" s").parse().unwrap();
                // Three digits, at most three decimals.
                assert!((written - seconds).abs() <= (seconds * 0.005).max(0.0005) + 1e-9, "{written} for {seconds}");
                assert!(page.contains(&format!("<td>{}</td>", columns[2])));
            }
        }
    }
    assert_eq!(report.lines().filter(|line| line.split(" | ").count() == 12).count(), rows + 5, "and five heads");
    assert!(report.contains("## Failed") && report.contains("a\\|b"));
}
