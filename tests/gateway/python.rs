//! Real programs from PyPI: virtual environments that are made once and kept below `target`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use linkgate::secret::{fingerprint, random_token};

/// The interpreter of a virtual environment that has what the file of requirements asks for. The name of the
/// environment changes with the requirements.
pub(crate) fn python_with(name: &str, requirements: &str) -> PathBuf {
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join(requirements);
    let content = fs::read_to_string(&requirements).unwrap();
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR"));
    // One at a time: the tests of one run mostly want the same.
    static MAKING: Mutex<()> = Mutex::new(());
    let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let ready = kept.join(format!("{name}-{}", &fingerprint(&content)[..16]));
    if !ready.join("bin/python").exists() {
        // Under a name of its own first: what is there under the final name is whole.
        let making = kept.join(format!("{name}-{}", random_token().expose()));
        run(
            Command::new("python3").args(["-m", "venv"]).arg(&making),
            "Python 3 with `venv` is not installed; `./script/test` installs it, and so does \
             `apt-get install python3 python3-venv`",
        );
        run(
            Command::new(making.join("bin/python")).args(["-m", "pip", "install", "--quiet", "-r"]).arg(requirements),
            &format!("{name} cannot be installed from PyPI; its stories need the network the first time"),
        );
        // Another run of the tests may have been faster, and then its environment serves as well.
        if fs::rename(&making, &ready).is_err() {
            fs::remove_dir_all(&making).unwrap();
        }
    }
    ready.join("bin/python")
}

fn run(command: &mut Command, advice: &str) {
    let output = command.stdin(Stdio::null()).output();
    let failure = match &output {
        Ok(output) if output.status.success() => return,
        Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr),
        Err(error) => error.to_string(),
    };
    panic!("{advice}\n{failure}");
}
