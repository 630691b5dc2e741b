//! What an import has done so far, in a file beside the one that is imported: hashes and row numbers, no user.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::super::output::{counted, say};
use crate::secret::fingerprint;

/// The file's format.
const FORMAT: u32 = 1;

/// What is done, and where that is noted.
pub(super) struct Progress {
    file: PathBuf,
    content: String,
    place: String,
    done: Vec<bool>,
    /// Rows that failed, by their index.
    failed: Vec<usize>,
    /// Users that were made, in earlier runs as well.
    pub(super) made: usize,
    /// Users that were there already, in earlier runs as well.
    pub(super) there: usize,
    /// Whether it was said that nothing can be noted.
    is_lost: bool,
}

#[derive(Serialize, Deserialize)]
struct Note {
    format: u32,
    content: String,
    place: String,
    made: usize,
    there: usize,
    /// First and last index of each run of rows that are done.
    done: Vec<(usize, usize)>,
    failed: Vec<usize>,
}

impl Progress {
    /// What an earlier run has done with the same content at the same place, or nothing; says which.
    pub(super) fn begin(csv: &Path, content: &str, place: &str, rows: usize, restart: bool) -> Self {
        let mut file = csv.as_os_str().to_owned();
        file.push(".linkgate-progress");
        let mut progress = Self {
            file: PathBuf::from(file),
            content: content.to_owned(),
            place: fingerprint(place),
            done: vec![false; rows],
            failed: Vec::new(),
            made: 0,
            there: 0,
            is_lost: false,
        };
        match progress.read() {
            Ok(None) => {}
            Ok(Some(_)) if restart => say("an earlier run is forgotten, as `--restart` asks\n"),
            Ok(Some(note)) => progress.take_up(csv, note),
            Err(error) => {
                let name = progress.file.display();
                say(&format!("cannot read what an earlier run noted in {name}: {error}; beginning anew\n"));
            }
        }
        progress
    }

    fn read(&self) -> io::Result<Option<Note>> {
        match fs::read(&self.file) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn take_up(&mut self, csv: &Path, note: Note) {
        let csv = csv.display();
        if note.format != FORMAT || note.content != self.content {
            return say(&format!("{csv} has changed since an earlier run; beginning anew\n"));
        }
        if note.place != self.place {
            return say(&format!("an earlier run imported {csv} to another place; beginning anew\n"));
        }
        for (first, last) in note.done {
            let last = last.min(self.done.len().saturating_sub(1));
            if first <= last {
                self.done[first..=last].fill(true);
            }
        }
        (self.made, self.there) = (note.made, note.there);
        let done = self.done.iter().filter(|done| **done).count();
        let rows = counted(self.done.len(), "row");
        let again = match note.failed.len() {
            0 => String::new(),
            failed => format!("; {} that failed before will be tried again", counted(failed, "row")),
        };
        say(&format!("going on where an earlier run stopped: {done} of {rows} done{again}\n"));
    }

    /// How many rows there are.
    pub(super) const fn rows(&self) -> usize {
        self.done.len()
    }

    /// Whether the row with this index is done.
    pub(super) fn is_done(&self, index: usize) -> bool {
        self.done[index]
    }

    /// Notes a user that was made, or was there.
    pub(super) fn done(&mut self, index: usize, is_new: bool) {
        self.done[index] = true;
        *(if is_new { &mut self.made } else { &mut self.there }) += 1;
    }

    /// Notes a row that failed.
    pub(super) fn failed(&mut self, index: usize) {
        self.failed.push(index);
    }

    /// Writes down what is done, in one step. An import without notes is still an import.
    pub(super) fn save(&mut self) {
        if let Err(error) = self.write()
            && !self.is_lost
        {
            self.is_lost = true;
            let name = self.file.display();
            say(&format!("cannot note what is done in {name}: {error}; a later run will begin anew\n"));
        }
    }

    fn write(&self) -> io::Result<()> {
        let note = Note {
            format: FORMAT,
            content: self.content.clone(),
            place: self.place.clone(),
            made: self.made,
            there: self.there,
            done: runs(&self.done),
            failed: self.failed.clone(),
        };
        let mut beside = self.file.as_os_str().to_owned();
        beside.push(".new");
        fs::write(&beside, serde_json::to_vec(&note)?)?;
        fs::rename(&beside, &self.file)
    }

    /// Writes down where the import ended; when all is done, there is nothing to go on with.
    pub(super) fn end(&mut self) {
        if self.done.iter().all(|done| *done) {
            // It may never have been written.
            fs::remove_file(&self.file).ok();
        } else {
            self.save();
        }
    }
}

/// First and last index of each run of `true`.
fn runs(done: &[bool]) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for index in (0..done.len()).filter(|index| done[*index]) {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == index => *last = index,
            _ => runs.push((index, index)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_is_kept_as_runs() {
        let check = |done: &[u8], expected: &[(usize, usize)]| {
            let done: Vec<bool> = done.iter().map(|done| *done == 1).collect();
            assert_eq!(runs(&done), expected);
        };
        check(&[], &[]);
        check(&[0, 0], &[]);
        check(&[1, 1, 0, 1], &[(0, 1), (3, 3)]);
        check(&[0, 1, 1], &[(1, 2)]);
    }
}
