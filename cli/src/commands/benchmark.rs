//! `benchmark`: measures this machine's stages and the repository's disk, and says what limits a backup.

use std::time::Instant;

use daykeep_engine::{
    Advice, Conclusion, Limit, MeasureOptions, Measurement, Result, SampleReport, Stage, StageReport, measure,
};
use serde::Serialize;

use super::{Context, JsonPath, Status};
use crate::args::BenchmarkArgs;
use crate::output::note;
use crate::place::{self, Place};
use crate::text::{self, Table};

/// How much less is measured for a quick look.
const QUICK: u32 = 8;
const GIB: f64 = 1_073_741_824.0;
/// Less of what was read than this came from the disk: then the rate is not the disk's.
const COLD_SHARE_MIN: f64 = 0.5;
/// If storing keeps the processors busy for this part of its time, it is told.
const BUSY_SHARE_TOLD: f64 = 0.25;

pub fn run(context: &Context, args: BenchmarkArgs) -> Result<Status> {
    let mut options = MeasureOptions::default();
    options.location = match Place::find(context) {
        Ok(place) => (!place.is_missing_default()).then_some(place.location),
        // Without a home folder there is no default, which is no reason not to measure.
        Err(_) if context.global.repository.is_none() => None,
        Err(error) => return Err(error),
    };
    options.sample = args.path;
    options.cache_dir = place::cache_dir(context);
    options.memory_bytes = context.global.memory.unwrap_or(options.memory_bytes);
    options.threads = context.global.threads;
    options.level = args.compression.unwrap_or(options.level);
    options.cancel = context.signals.cancel_token().clone();
    if args.quick {
        options.stage_time /= QUICK;
        options.disk_bytes /= u64::from(QUICK);
        options.sample_bytes /= u64::from(QUICK);
    }
    let (out, quiet, begun) = (context.out.clone(), context.global.quiet, Instant::now());
    options = options.observer(move |stage| {
        if quiet {
            return;
        }
        if out.is_json() {
            out.json(&JsonProgress { stage: stage.name(), seconds_elapsed: begun.elapsed().as_secs_f64() });
            out.flush();
        } else {
            note(&format!("measuring: {}", label(stage)));
        }
    });
    let measurement = measure(&options)?;
    let has_repository = options.location.is_some();
    if context.out.is_json() {
        print_json(context, &measurement, has_repository);
    } else {
        print(context, &measurement, has_repository);
    }
    Ok(Status::Done)
}

/// What people call a stage.
fn label(stage: Stage) -> &'static str {
    match stage {
        Stage::Open => "open files",
        Stage::Read => "read files",
        Stage::Chunk => "cut into chunks",
        Stage::Hash => "hash chunks",
        Stage::Compress => "compress",
        Stage::CompressOther => "compress, other level",
        Stage::Seal => "encrypt",
        Stage::StoreDirectory => "store in a directory",
        Stage::StoreFile => "store in one file",
        Stage::CatalogAdd => "enter into the index",
        Stage::CatalogFind => "look up in the index",
        Stage::Backup => "back up, store nothing",
        _ => "something new",
    }
}

fn rate(stage: Stage, per_second: f64) -> String {
    let number = per_second.round() as u64;
    match stage.items() {
        Some(items) => format!("{} {items}/s", text::count(number)),
        None => format!("{}/s", text::size(number)),
    }
}

fn print(context: &Context, found: &Measurement, has_repository: bool) {
    let line = |text: &str| context.out.line(text);
    for text in about(found, has_repository) {
        line(&text);
    }
    line("");
    let mut table = Table::new(&[
        "STAGE",
        ">ONE CORE",
        &format!(">{}", text::counted(found.threads as u64, "THREAD", "THREADS")),
        ">NS/BYTE OR ITEM",
    ]);
    for report in &found.stages {
        let nanos = report.nanos();
        table.row(vec![
            stage_name(report.stage, found),
            rate(report.stage, report.one_core),
            report.all_cores.map_or_else(|| "-".into(), |all| rate(report.stage, all)),
            if nanos < 100.0 { format!("{nanos:.2}") } else { text::count(nanos.round() as u64) },
        ]);
    }
    table.lines().for_each(|text| line(&text));
    line("");
    for text in sentences(found, &found.conclusion()) {
        line(&text);
    }
}

fn stage_name(stage: Stage, found: &Measurement) -> String {
    match stage {
        Stage::Compress => format!("compress, level {}", found.level),
        Stage::CompressOther => format!("compress, level {}", found.other_level),
        other => label(other).to_owned(),
    }
}

/// Says what was measured with, and where.
fn about(found: &Measurement, has_repository: bool) -> Vec<String> {
    let SampleReport { path, files, bytes, is_whole, unreadable, .. } = &found.sample;
    let files = text::counted(*files, "file", "files");
    let mut lines = Vec::new();
    lines.push(match path {
        Some(path) => {
            let or_more = if *is_whole { "" } else { " or more" };
            let path = text::name(path.as_os_str().as_encoded_bytes());
            format!("Measured with {path}: {files}, {}{or_more}; {}.", text::size(*bytes), classes(found))
        }
        None => format!("Measured with generated data: {files}, {}; {}.", text::size(*bytes), classes(found)),
    });
    if *unreadable > 0 {
        lines.push(format!(
            "{} could not be looked at.",
            text::counted(*unreadable, "file or folder", "files or folders")
        ));
    }
    let place = text::name(found.place.as_os_str().as_encoded_bytes());
    lines.push(if has_repository {
        format!("The repository's disk is that of {place}.")
    } else {
        format!("There is no repository yet, so the disk is that of {place}; name another with --repository.")
    });
    lines.push(cache_sentence(found));
    lines
}

fn classes(found: &Measurement) -> String {
    let total: u64 = found.sample.bytes_by_class.iter().sum();
    let percent = |bytes: u64| (bytes as f64 * 100.0 / total.max(1) as f64).round();
    let [general, media, sqlite] = found.sample.bytes_by_class;
    format!("{} % media, {} % SQLite databases, {} % other", percent(media), percent(sqlite), percent(general))
}

/// Says whether the rate of reading is that of a disk.
fn cache_sentence(found: &Measurement) -> String {
    if found.sample.path.is_none() {
        return "The generated files were still in memory, so how fast your disk reads is not known; name a folder of \
                yours for that."
            .into();
    }
    match found.cached_share {
        Some(share) if 1.0 - share < COLD_SHARE_MIN => format!(
            "Of what was read {:.0} % was in memory already, so how fast the disk reads is not known.",
            share * 100.0
        ),
        Some(share) => format!("Of what was read {:.0} % came from the disk.", (1.0 - share) * 100.0),
        None => "Whether the files were in memory already is not known here: this file system does not tell.".into(),
    }
}

fn seconds_for_a_gibibyte(bytes_per_second: f64) -> String {
    format!("{:.1} s", GIB / bytes_per_second.max(1.0))
}

/// Says what to expect, and of which kind of repository and where.
fn expectation(found: &Measurement, conclusion: &Conclusion) -> String {
    let (least, most) = (conclusion.bytes_per_second_min, conclusion.bytes_per_second_max);
    let store = if found.is_directory { "a directory" } else { "one file" };
    format!(
        "A first backup of files like these into a repository in {store} on the disk of {}: {} to {}, 1 GiB in {} to {}.",
        text::name(found.place.as_os_str().as_encoded_bytes()),
        rate(Stage::Backup, least),
        rate(Stage::Backup, most),
        seconds_for_a_gibibyte(most),
        seconds_for_a_gibibyte(least)
    )
}

fn sentences(found: &Measurement, conclusion: &Conclusion) -> Vec<String> {
    let mut lines = vec![limit_sentence(found, conclusion), expectation(found, conclusion)];
    if conclusion.limit == Limit::Processing {
        lines.push(slowest_sentence(found, conclusion));
    }
    lines.push(match (conclusion.more_cores_help, conclusion.limit) {
        (true, _) => "More cores would make it faster.".into(),
        (false, Limit::Processing) => format!(
            "{} did hardly more than one: more cores would not help, unless other programs kept these busy.",
            text::counted(found.threads as u64, "thread", "threads")
        ),
        (false, _) => "More cores would not help.".into(),
    });
    lines.extend(conclusion.advice.iter().map(advice_sentence));
    if conclusion.advice.is_empty() {
        lines.push("No setting of daykeep would make it much faster here.".into());
    }
    lines
}

fn limit_sentence(found: &Measurement, conclusion: &Conclusion) -> String {
    let best = |stage| found.stage(stage).map_or(0.0, StageReport::best);
    match conclusion.limit {
        Limit::Reading => {
            format!("Your files are read at {}; that limits a first backup.", rate(Stage::Read, best(Stage::Read)))
        }
        Limit::Storing => {
            let stage = if found.is_directory { Stage::StoreDirectory } else { Stage::StoreFile };
            let share = found.stored_share * 100.0;
            format!(
                "The repository's disk takes {}, and {share:.0} % of the bytes go there; that limits a first backup.",
                rate(stage, best(stage))
            )
        }
        Limit::Catalog => format!(
            "The disk of the index takes {}; that limits a first backup.",
            rate(Stage::CatalogAdd, best(Stage::CatalogAdd))
        ),
        _ => {
            let busy = if found.is_directory { found.busy_share_directory } else { found.busy_share_file };
            let shared = if busy < BUSY_SHARE_TOLD { "" } else { "; storing takes its part of it" };
            format!("The processor limits a first backup, not a disk{shared}.")
        }
    }
}

fn slowest_sentence(found: &Measurement, conclusion: &Conclusion) -> String {
    let has = |feature| found.features.contains(&feature);
    let why = match conclusion.slowest {
        Stage::Open => ": your files are small",
        Stage::Seal if !has("aes") => ": this processor has no AES instructions",
        Stage::Seal if cfg!(target_arch = "x86_64") && !(has("vaes") && has("avx512f")) => {
            ": this processor lacks AVX-512 with VAES, with which it would be faster"
        }
        Stage::Hash if cfg!(target_arch = "x86_64") && !has("avx512f") => {
            ": this processor has no AVX-512, with which it would be faster"
        }
        _ => "",
    };
    let share = conclusion.slowest_share * 100.0;
    format!("The slowest step is \"{}\", {share:.0} % of the steps' time{why}.", stage_name(conclusion.slowest, found))
}

fn advice_sentence(advice: &Advice) -> String {
    let expect = |bytes_per_second: &f64| format!("1 GiB in {}", seconds_for_a_gibibyte(*bytes_per_second));
    match advice {
        Advice::Threads { cores } => format!("Use all {cores} cores: leave out --threads."),
        Advice::Compression { level, bytes_per_second, stored_share } => format!(
            "Use --compression {level}: {}, and {:.0} % of the bytes are stored.",
            expect(bytes_per_second),
            stored_share * 100.0
        ),
        Advice::Store { directory: true, bytes_per_second } => format!(
            "A new repository in a directory (--repository with / at its end) would be faster: {}.",
            expect(bytes_per_second)
        ),
        Advice::Store { directory: false, bytes_per_second } => {
            format!("A new repository in one file (such as photos.redb) would be faster: {}.", expect(bytes_per_second))
        }
        Advice::CacheDir => "Put the index on a faster disk with --cache-dir.".into(),
        Advice::Memory { bytes } => format!("Give it --memory {}M, the usual amount, or more.", bytes >> 20),
        _ => String::new(),
    }
}

fn print_json(context: &Context, found: &Measurement, has_repository: bool) {
    for report in &found.stages {
        context.out.json(&JsonStage::of(report));
    }
    context.out.json(&JsonSummary::of(found, has_repository));
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "progress")]
struct JsonProgress {
    stage: &'static str,
    seconds_elapsed: f64,
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "stage")]
struct JsonStage {
    stage: &'static str,
    unit: &'static str,
    one_core_per_second: f64,
    all_cores_per_second: Option<f64>,
    nanoseconds_per_unit: f64,
    amount: u64,
}

impl JsonStage {
    fn of(report: &StageReport) -> Self {
        Self {
            stage: report.stage.name(),
            unit: report.stage.items().unwrap_or("bytes"),
            one_core_per_second: report.one_core,
            all_cores_per_second: report.all_cores,
            nanoseconds_per_unit: report.nanos(),
            amount: report.amount,
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "summary")]
struct JsonSummary {
    limit: &'static str,
    bytes_per_second: f64,
    bytes_per_second_min: f64,
    bytes_per_second_max: f64,
    slowest_stage: &'static str,
    slowest_share: f64,
    more_cores_help: bool,
    findings: Vec<String>,
    sample: Option<JsonPath>,
    sample_files: u64,
    sample_bytes: u64,
    sample_is_whole: bool,
    unreadable: u64,
    general_bytes: u64,
    media_bytes: u64,
    sqlite_bytes: u64,
    backup_files: u64,
    backup_bytes: u64,
    disk: JsonPath,
    has_repository: bool,
    is_directory: bool,
    threads: usize,
    cores: usize,
    memory_bytes: usize,
    level: i32,
    other_level: i32,
    stored_share: f64,
    stored_share_other: f64,
    busy_share_directory: f64,
    busy_share_file: f64,
    chunk_bytes_mean: f64,
    cached_share: Option<f64>,
    processor_features: Vec<&'static str>,
    duration_seconds: f64,
}

impl JsonSummary {
    fn of(found: &Measurement, has_repository: bool) -> Self {
        let conclusion = found.conclusion();
        let limit = match conclusion.limit {
            Limit::Reading => "reading",
            Limit::Storing => "storing",
            Limit::Catalog => "catalog",
            _ => "processing",
        };
        let sample = &found.sample;
        let [general_bytes, media_bytes, sqlite_bytes] = sample.bytes_by_class;
        Self {
            limit,
            bytes_per_second: conclusion.bytes_per_second,
            bytes_per_second_min: conclusion.bytes_per_second_min,
            bytes_per_second_max: conclusion.bytes_per_second_max,
            slowest_stage: conclusion.slowest.name(),
            slowest_share: conclusion.slowest_share,
            more_cores_help: conclusion.more_cores_help,
            findings: sentences(found, &conclusion),
            sample: sample.path.as_deref().map(JsonPath::of),
            sample_files: sample.files,
            sample_bytes: sample.bytes,
            sample_is_whole: sample.is_whole,
            unreadable: sample.unreadable,
            general_bytes,
            media_bytes,
            sqlite_bytes,
            backup_files: sample.backup_files,
            backup_bytes: sample.backup_bytes,
            disk: JsonPath::of(&found.place),
            has_repository,
            is_directory: found.is_directory,
            threads: found.threads,
            cores: found.cores,
            memory_bytes: found.memory_bytes,
            level: found.level,
            other_level: found.other_level,
            stored_share: found.stored_share,
            stored_share_other: found.stored_share_other,
            busy_share_directory: found.busy_share_directory,
            busy_share_file: found.busy_share_file,
            chunk_bytes_mean: found.chunk_bytes_mean,
            cached_share: found.cached_share,
            processor_features: found.features.clone(),
            duration_seconds: found.duration.as_secs_f64(),
        }
    }
}
