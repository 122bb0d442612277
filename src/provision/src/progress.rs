//! Progress on the terminal, and the same in `setup.log`. Never a secret.

use base::Paths;
use indicatif::{ProgressBar, ProgressStyle};
use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

/// One bar for each stage on a terminal, one line for each stage elsewhere.
pub struct Progress {
    bar: Option<ProgressBar>,
    log: Option<File>,
    title: String,
    begun: Instant,
    /// Each finished stage with how long it took.
    pub times: Vec<(String, Duration)>,
}

impl Progress {
    /// Writes to the set-up log of these paths as well, when that can be opened.
    pub fn new(paths: &Paths) -> Self {
        let folder = paths.log();
        let log = base::durable::create_dir_all(&folder, 0o750)
            .and_then(|()| OpenOptions::new().create(true).append(true).mode(0o640).open(folder.join("setup.log")));
        Self { bar: None, log: log.ok(), title: String::new(), begun: Instant::now(), times: Vec::new() }
    }

    pub fn begin(&mut self, title: &str, steps: usize) {
        self.title = title.to_owned();
        self.begun = Instant::now();
        self.log(&format!("stage {title}"));
        if !std::io::stderr().is_terminal() {
            eprintln!("{title} …");
            return;
        }
        let bar = ProgressBar::new(steps as u64);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix:18} [{bar:24}] {wide_msg}") {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(title.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        self.bar = Some(bar);
    }

    /// The next step of the stage begins.
    pub fn step(&mut self, what: &str) {
        self.log(what);
        if let Some(bar) = &self.bar {
            bar.inc(1);
            bar.set_message(what.to_owned());
        }
    }

    /// What a long step is doing just now.
    pub fn detail(&mut self, line: &str) {
        self.log(&format!("   {line}"));
        if let Some(bar) = &self.bar {
            bar.set_message(line.chars().filter(|c| !c.is_control()).take(100).collect::<String>());
        }
    }

    pub fn end(&mut self) {
        let took = self.begun.elapsed();
        self.times.push((self.title.clone(), took));
        self.log(&format!("{} done in {:.1} s", self.title, took.as_secs_f64()));
        if let Some(bar) = self.bar.take() {
            bar.finish_with_message(format!("done in {:.1} s", took.as_secs_f64()));
        }
    }

    /// A line for the log alone.
    pub fn log(&mut self, line: &str) {
        let time = base::time::readable(base::time::now_unix());
        if let Some(log) = &mut self.log
            && let Err(error) = writeln!(log, "{time} {line}")
        {
            tracing::warn!("the set-up log cannot be written: {error}");
        }
    }
}
