//! The page in a browser: its bars are as long as the JSON says, and nothing is wider than a phone.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::reports::{REPORTS, figures, same};

/// Puts the page into a frame of a given width, since browsers have a least width for their windows, and writes what
/// is to be seen there into the outer page.
const FRAME: &str = r#"<!doctype html><meta charset="utf-8">
<iframe id="frame" style="border:0;width:WIDTHpx;height:900px" srcdoc="PAGE"></iframe><pre id="seen"></pre><script>
document.getElementById("frame").addEventListener("load", event => {
  const page = event.target.contentDocument, view = event.target.contentWindow;
  for (const details of page.querySelectorAll("details")) details.open = true;
  const size = element => element.getBoundingClientRect();
  const bars = [...page.querySelectorAll("[data-seconds], [data-bytes]")].map(bar => ({
    ...bar.dataset, tag: bar.tagName.toLowerCase(), width: size(bar).width, height: size(bar).height,
    track: size(bar.parentElement).width, rise: size(bar.parentElement).height, chart: [...page.querySelectorAll("figure")].indexOf(bar.closest("figure")),
    label: bar.closest("li").querySelector(".value").textContent,
  }));
  const inBox = element => element.closest(".scroll") !== null;
  const wide = [...page.querySelectorAll("body *")].filter(e => !inBox(e) && size(e).right > view.innerWidth + 0.5);
  document.getElementById("seen").textContent = JSON.stringify({
    inner: view.innerWidth, scroll: page.documentElement.scrollWidth, wide: wide.map(e => e.tagName + "." + e.className), bars,
  });
});
</script>"#;

fn browser() -> Option<&'static str> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    names.into_iter().find(|name| Command::new(name).arg("--version").output().is_ok_and(|out| out.status.success()))
}

/// Returns what is to be seen of a page at this width.
fn seen(browser: &str, folder: &Path, page: &str, width: u32) -> Value {
    let quoted = page.replace('&', "&amp;").replace('"', "&quot;");
    let file = folder.join(format!("frame-{width}.html"));
    fs::write(&file, FRAME.replace("WIDTH", &width.to_string()).replace("PAGE", &quoted)).unwrap();
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--disable-dev-shm-usage", "--virtual-time-budget=10000", "--window-size=1400,1000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", folder.join(format!("profile-{width}")).display()))
        .arg(format!("file://{}", file.display()))
        .env("HOME", folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let dom = String::from_utf8_lossy(&output.stdout).into_owned();
    let seen = dom.rsplit_once("<pre id=\"seen\">").and_then(|(_, rest)| rest.split_once("</pre>"));
    let text = seen.map(|(text, _)| text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"));
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    serde_json::from_str(&text.unwrap_or_default()).unwrap_or_else(|error| panic!("{error}: {complaint}\n{dom}"))
}

#[test]
fn bars_are_as_long_as_the_json_says_at_phone_and_desktop_width() {
    let Some(browser) = browser() else {
        assert!(std::env::var_os("CI").is_none(), "no Chromium: install it, this must run in CI");
        eprintln!("skipped: there is no Chromium on this machine");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let figures = figures(&REPORTS.results);
    for width in [360, 1280] {
        let seen = seen(browser, folder.path(), &REPORTS.page, width);
        assert_eq!(seen["inner"], width, "{seen}");
        assert!(seen["scroll"].as_u64().unwrap() <= u64::from(width), "wider than {width}: {}", seen["wide"]);
        assert_eq!(seen["wide"], serde_json::json!([]), "at {width}");
        check_bars(seen["bars"].as_array().unwrap(), &figures);
    }
}

fn check_bars(bars: &[Value], figures: &BTreeMap<(String, String, String), Value>) {
    let number = |value: &Value| value.as_f64().or_else(|| value.as_str()?.parse().ok());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    // The longest of each chart: for times the longest single run, to which the bars are drawn.
    let mut longest: BTreeMap<i64, f64> = BTreeMap::new();
    let mut found = Vec::new();
    for bar in bars {
        let figures = &figures[&(text(&bar["scenario"]), text(&bar["step"]), text(&bar["tool"]))];
        let is_column = bar["tag"] == "rect";
        let (name, most) = match (number(&bar["seconds"]), is_column) {
            (Some(_), _) => ("seconds", "seconds_max"),
            (None, true) => ("added_bytes", "added_bytes"),
            (None, false) => ("stored_bytes", "stored_bytes"),
        };
        let value = number(&bar["seconds"]).or_else(|| number(&bar["bytes"])).unwrap();
        assert!(same(figures[name].as_f64(), Some(value)), "{bar}");
        let chart = longest.entry(bar["chart"].as_i64().unwrap()).or_default();
        *chart = chart.max(figures[most].as_f64().unwrap());
        found.push((bar, value, is_column));
    }
    assert!(found.iter().filter(|bar| bar.2).count() >= 8 && found.len() > 80, "{} bars", found.len());
    for (bar, value, is_column) in found {
        let share = value / longest[&bar["chart"].as_i64().unwrap()];
        let (length, whole) = if is_column { (&bar["height"], &bar["rise"]) } else { (&bar["width"], &bar["track"]) };
        let (length, whole) = (length.as_f64().unwrap(), whole.as_f64().unwrap());
        assert!(whole > 30.0 && (length - (share * whole)).abs() <= 2.01, "{length} of {whole} px for {share}: {bar}");
        assert!(!bar["label"].as_str().unwrap().is_empty(), "{bar}");
    }
}
