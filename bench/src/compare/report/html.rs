//! `index.html`: one page that needs nothing else, neither network nor scripts.

use std::fmt::Write;

use super::super::results::Results;
use super::super::summary::{ScenarioSummary, StepSummary};
use super::{COMMANDS_SAY, ORDINARY, chart, command_lines, environment, markdown, method, shown_name, text};

const STYLE: &str = include_str!("style.css");

/// Returns a text without characters that mean something in HTML.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// Returns the whole page.
pub fn page(results: &Results) -> String {
    let mut out = String::new();
    // Writing to a string never fails.
    let _ = write_page(&mut out, results);
    out
}

fn write_page(out: &mut String, results: &Results) -> std::fmt::Result {
    writeln!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>Backup programs, side by side</title>\n<style>\n{STYLE}</style>\n</head>\n<body>"
    )?;
    write_header(out, results)?;
    writeln!(out, "<main>")?;
    write_glance(out, results)?;
    for scenario in &results.summary.scenarios {
        write_scenario(out, results, scenario)?;
    }
    write_left_out(out, results)?;
    write_tools(out, results)?;
    write_method(out, results)?;
    write_commands(out, results)?;
    writeln!(out, "</main>\n</body>\n</html>")
}

fn write_header(out: &mut String, results: &Results) -> std::fmt::Result {
    let machine = &results.machine;
    let ran = results.tools.iter().filter(|tool| tool.status == "found").count();
    writeln!(
        out,
        "<header><h1>Backup programs, side by side</h1><p class=\"lede\">{ran} tools, {} scenarios, {} {}, {} × {}, \
         <time>{}</time></p>",
        results.summary.scenarios.len(),
        results.rounds_done,
        if results.rounds_done == 1 { "round" } else { "rounds" },
        machine.cores,
        escape(&machine.cpu),
        escape(&machine.date)
    )?;
    if let Some(ended) = &results.ended {
        let ended = escape(ended);
        writeln!(out, "<p class=\"alarm\">Ended early: {ended}. What follows was measured before.</p>")?;
    }
    for caution in &results.cautions {
        writeln!(out, "<p class=\"alarm\">{}</p>", escape(caution))?;
    }
    writeln!(out, "<nav aria-label=\"Scenarios\">")?;
    for scenario in &results.summary.scenarios {
        writeln!(out, "<a href=\"#{}\">{}</a>", escape(&scenario.name), escape(&scenario.title))?;
    }
    writeln!(
        out,
        "<a href=\"#tools\">Tools and machine</a></nav><p class=\"legend\"><span class=\"ours\">daykeep</span> <span \
         class=\"rival\">other backup programs</span> <span class=\"limit\">limits: not backup programs</span></p><p \
         class=\"lede\" id=\"legend\">Less is better. The line across a bar is the spread of the single runs; the last \
         figure of a row is the multiple of daykeep’s.</p></header>"
    )
}

/// Writes daykeep's time of each scenario's first backup beside the fastest rival's.
fn write_glance(out: &mut String, results: &Results) -> std::fmt::Result {
    let firsts = results.summary.scenarios.iter().filter_map(|scenario| {
        let step = scenario.steps.iter().find(|step| step.step == "first")?;
        Some((scenario, step.daykeep()?, step.fastest_rival()))
    });
    let firsts: Vec<_> = firsts.collect();
    if firsts.is_empty() {
        return Ok(());
    }
    writeln!(out, "<section aria-labelledby=\"glance\"><h2 id=\"glance\">First backups</h2><ul class=\"cards\">")?;
    for (scenario, (tool, ours), rival) in firsts {
        let beside = match rival {
            None => "no rival to compare with".to_owned(),
            Some((name, theirs)) if (0.95..1.05).contains(&(ours.seconds / theirs.seconds)) => {
                format!("as fast as {name}, the fastest rival")
            }
            Some((name, theirs)) if theirs.seconds >= ours.seconds => {
                format!("{:.1} times as fast as {name}, the fastest rival", theirs.seconds / ours.seconds)
            }
            Some((name, theirs)) => {
                format!("{:.1} times as long as {name}, the fastest rival", ours.seconds / theirs.seconds)
            }
        };
        writeln!(
            out,
            "<li><a href=\"#{}\">{}</a><strong>{}</strong><span>{} · {}</span></li>",
            escape(&scenario.name),
            escape(&scenario.title),
            text::seconds(ours.seconds),
            escape(tool),
            escape(&beside)
        )?;
    }
    writeln!(out, "</ul></section>")
}

fn write_scenario(out: &mut String, results: &Results, scenario: &ScenarioSummary) -> std::fmt::Result {
    let name = escape(&scenario.name);
    writeln!(
        out,
        "<section aria-labelledby=\"{name}\"><h2 id=\"{name}\">{}</h2><p class=\"size\">{}, {}</p><div class=\"charts\">",
        escape(&scenario.title),
        text::files(scenario.files),
        text::bytes(scenario.bytes)
    )?;
    let (ordinary, later): (Vec<&StepSummary>, Vec<_>) =
        scenario.steps.iter().partition(|step| ORDINARY.contains(&step.step.as_str()));
    if !later.is_empty() {
        chart::growth(out, results, scenario, &later)?;
    }
    // Where something was forgotten, the last backup tells what there was before.
    let forgets = ordinary.iter().any(|step| step.step == "forget");
    for step in ordinary {
        chart::times(out, results, &scenario.name, step)?;
        if step.step == "first" || forgets && matches!(step.step.as_str(), "unchanged" | "forget") {
            chart::sizes(out, results, &scenario.name, step)?;
        }
    }
    writeln!(out, "</div>")?;
    if !later.is_empty() {
        writeln!(out, "<details><summary>Time of each later backup</summary><div class=\"charts\">")?;
        for step in later {
            chart::times(out, results, &scenario.name, step)?;
        }
        writeln!(out, "</div></details>")?;
    }
    write_table(out, results, scenario)?;
    writeln!(out, "</section>")
}

fn write_table(out: &mut String, results: &Results, scenario: &ScenarioSummary) -> std::fmt::Result {
    writeln!(
        out,
        "<details><summary>All figures</summary><div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"All figures: \
         {0}\"><table><caption>{0}</caption><thead><tr>",
        escape(&scenario.title)
    )?;
    for head in [
        "step",
        "tool",
        "time",
        "spread",
        "× daykeep",
        "× cp -r",
        "processor",
        "memory",
        "read",
        "written",
        "stored",
        "added",
    ] {
        write!(out, "<th scope=\"col\">{head}</th>")?;
    }
    writeln!(out, "</tr></thead><tbody>")?;
    for step in &scenario.steps {
        for (index, cell) in step.cells.iter().enumerate() {
            write!(out, "<tr{}>", if index == 0 { " class=\"begins\"" } else { "" })?;
            write!(
                out,
                "<td>{}</td><th scope=\"row\">{}</th>",
                escape(&step.title),
                escape(&shown_name(results, &cell.tool))
            )?;
            for figure in markdown::row(cell) {
                write!(out, "<td>{}</td>", escape(&figure))?;
            }
            writeln!(out, "</tr>")?;
        }
    }
    writeln!(out, "</tbody></table></div></details>")
}

fn write_left_out(out: &mut String, results: &Results) -> std::fmt::Result {
    if results.left_out.is_empty() {
        return Ok(());
    }
    writeln!(out, "<section aria-labelledby=\"left-out\"><h2 id=\"left-out\">Left out</h2><ul>")?;
    for left in &results.left_out {
        writeln!(out, "<li>{}: {}</li>", escape(&left.scenario), escape(&left.reason))?;
    }
    writeln!(out, "</ul></section>")
}

fn write_tools(out: &mut String, results: &Results) -> std::fmt::Result {
    writeln!(out, "<section aria-labelledby=\"tools\"><h2 id=\"tools\">Tools and machine</h2><dl class=\"tools\">")?;
    for tool in &results.tools {
        let status = Some(tool.status.as_str()).filter(|status| *status != "found");
        let status = status.map(|status| format!("<em>{}</em>", escape(status)));
        let parts = [Some(escape(&tool.version)), status, Some(escape(&tool.note))];
        let parts: Vec<String> = parts.into_iter().flatten().filter(|part| !part.is_empty()).collect();
        let name = escape(&shown_name(results, &tool.name));
        writeln!(out, "<dt>{name}</dt><dd data-status=\"{}\">{}</dd>", escape(&tool.status), parts.join(" · "))?;
    }
    let machine = &results.machine;
    let rows = [
        ("processor", format!("{} × {}", machine.cores, machine.cpu)),
        ("memory", text::bytes(machine.memory_bytes)),
        ("kernel", machine.kernel.clone()),
        ("work folder on", machine.work_file_system.clone()),
        ("load before", format!("{:.2}", machine.load)),
    ];
    for (name, value) in rows {
        writeln!(out, "<dt>{name}</dt><dd>{}</dd>", escape(&value))?;
    }
    writeln!(out, "</dl></section>")
}

fn write_method(out: &mut String, results: &Results) -> std::fmt::Result {
    writeln!(out, "<section aria-labelledby=\"method\"><h2 id=\"method\">How it was measured</h2><ul>")?;
    for sentence in method(results) {
        writeln!(out, "<li>{}</li>", escape(&sentence))?;
    }
    writeln!(out, "</ul><p>All single runs are in <code>results.json</code>.</p></section>")
}

/// Writes what every tool was told, so that compression, caches and passwords can be judged.
fn write_commands(out: &mut String, results: &Results) -> std::fmt::Result {
    let say = escape(COMMANDS_SAY);
    writeln!(out, "<section aria-labelledby=\"commands\"><h2 id=\"commands\">Command lines</h2><p>{say}</p>")?;
    writeln!(out, "<pre>{}</pre>", escape(&results.command_line))?;
    for (tool, lines) in command_lines(results) {
        writeln!(out, "<details><summary>{}</summary><dl class=\"tools\">", escape(&shown_name(results, tool)))?;
        for (title, line) in lines {
            writeln!(out, "<dt>{}</dt><dd><pre>{}</pre></dd>", escape(&title), escape(&line))?;
        }
        writeln!(out, "</dl></details>")?;
    }
    let environment = escape(&environment(results));
    writeln!(
        out,
        "<details><summary>The environment of all, and nothing else</summary><pre>{environment}</pre></details></section>"
    )
}
