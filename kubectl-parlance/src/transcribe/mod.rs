//! `kubectl parlance transcribe`: recordings in; transcripts on standard output or in files, everything else on standard error.
//!
//! The pods are asked over the OpenAI API, which streams what is heard and lets nothing be known of gRPC here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use http::HeaderValue;
use kube::ResourceExt;
use tokio::fs;

use crate::cluster::Cluster;
use crate::error::Error;
use crate::find::{self, Wanted};
use crate::object::{Object, short};
use crate::pods;
use crate::run::print;
use crate::tls::{self, Tls, TlsArgs};

mod attempt;
mod events;
mod form;
mod progress;
mod transcript;

use attempt::{Ask, Attempt, Place, attempt};
use progress::{Progress, clock};
pub use transcript::{Format, Transcript};

/// What is to be transcribed, and how.
#[derive(Clone, Debug)]
pub struct Job {
    /// Recordings.
    pub files: Vec<PathBuf>,
    /// Object whose pods are asked.
    pub wanted: Wanted,
    /// How transcripts are written.
    pub format: Format,
    /// Language code, or `auto`; the service's own default when there is none.
    pub language: Option<String>,
    /// Text that comes before the audio.
    pub prompt: Option<String>,
    /// Whether each word gets its times.
    pub words: bool,
    /// Folder that transcripts are written to; standard output when there is none.
    pub output: Option<PathBuf>,
    /// The API key.
    pub api_key: Option<String>,
    /// Whom to trust where pods speak TLS.
    pub tls: TlsArgs,
    /// How long to go on when every pod is busy.
    pub retry_for: Duration,
    /// Whether nothing is told but errors.
    pub quiet: bool,
}

/// Transcribes the files, one after another.
///
/// # Errors
/// The error of the only file; [`Error::SomeFiles`] when some of several failed, after each was told.
pub async fn transcribe(cluster: &Cluster, job: &Job) -> Result<(), Error> {
    let targets = targets(job)?;
    let object = find::find(cluster, &job.wanted).await?;
    if object.serving().is_none() {
        return Err(Error::ModelRests(object.name()));
    }
    let authorization = job.api_key.as_deref().map(bearer).transpose()?;
    if let Some(folder) = &job.output {
        fs::create_dir_all(folder)
            .await
            .map_err(|e| unwritten(folder, e))?;
    }
    let mut failed = 0;
    for (turn, file) in job.files.iter().enumerate() {
        let name = file
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let progress = Progress::of(&name, job.quiet);
        let fields = fields(job);
        let ask = Ask {
            file,
            fields: &fields,
            authorization: authorization.as_ref(),
        };
        let outcome = one(cluster, &object, &ask, job, turn, &progress).await;
        progress.end();
        let written = match outcome {
            Ok(transcript) => write(&transcript, job.format, targets.get(file.as_path())).await,
            Err(error) => Err(error),
        };
        match written {
            Ok(()) => {}
            // What stops one stops them all.
            Err(error @ (Error::Forbidden { .. } | Error::NotReady { .. } | Error::Output(_))) => {
                return Err(error);
            }
            Err(error) if job.files.len() == 1 => return Err(error),
            Err(error) => {
                failed += 1;
                eprintln!("kubectl parlance: {error}");
            }
        }
    }
    match failed {
        0 => Ok(()),
        failed => Err(Error::SomeFiles {
            failed,
            all: job.files.len(),
        }),
    }
}

/// Asks pod after pod until one has transcribed the file.
async fn one(
    cluster: &Cluster,
    object: &Object,
    ask: &Ask<'_>,
    job: &Job,
    turn: usize,
    progress: &Progress,
) -> Result<Transcript, Error> {
    let began = Instant::now();
    loop {
        let places = places(cluster, object, &job.tls).await?;
        let mut soonest: Option<(Duration, String)> = None;
        for place in rotated(&places, turn) {
            let started = Instant::now();
            match attempt(&cluster.client, place, ask, progress).await? {
                Attempt::Done(transcript) => {
                    let audio = clock(transcript.duration().as_secs_f64());
                    let took = started.elapsed().as_secs_f64();
                    progress.tell(&format!("{audio} of audio in {took:.1} s, by pod {}", place.pod));
                    return Ok(*transcript);
                }
                Attempt::Elsewhere { message, retry_after } => {
                    progress.tell(&format!("pod {}: {message}", place.pod));
                    if soonest.as_ref().is_none_or(|(sooner, _)| retry_after < *sooner) {
                        soonest = Some((retry_after, message));
                    }
                }
            }
        }
        let (wait, message) = soonest.unwrap_or_default();
        if began.elapsed() + wait >= job.retry_for {
            return Err(Error::Refused {
                file: ask.file.to_owned(),
                retry_for: job.retry_for.as_secs(),
                message,
            });
        }
        progress.tell(&format!("tries again in {} s", wait.as_secs_f64().ceil()));
        tokio::time::sleep(wait).await;
    }
}

/// The pods that can be asked now; never none.
async fn places(cluster: &Cluster, object: &Object, args: &TlsArgs) -> Result<Vec<Place>, Error> {
    let pods = pods::of(&cluster.client, object).await?;
    let tls = Tls::of(&cluster.client, object, &pods, args).await?;
    let ready = pods.iter().filter(|pod| pods::is_ready(pod));
    let places: Vec<Place> = ready
        .map(|pod| Place {
            namespace: object.namespace(),
            pod: pod.name_any(),
            port: pods::http_port(pod),
            tls: tls.clone().filter(|_| tls::speaks(pod)),
        })
        .collect();
    match places.is_empty() {
        false => Ok(places),
        true => Err(not_ready(object)),
    }
}

fn not_ready(object: &Object) -> Error {
    let message = match object.condition(crds::condition::READY) {
        Some(ready) if ready.status != "True" => ready.message.trim_end_matches('.').to_owned(),
        // The status is behind, or the object asks for no pods.
        _ => object.message().unwrap_or("none of its pods is ready").to_owned(),
    };
    Error::NotReady {
        kind: object.kind().as_str(),
        short: short(object.kind()),
        name: object.name(),
        namespace: object.namespace(),
        message,
    }
}

/// The places, another one first for each file, so that several files use several pods.
fn rotated(places: &[Place], turn: usize) -> impl Iterator<Item = &Place> {
    let first = turn % places.len().max(1);
    places[first..].iter().chain(&places[..first])
}

fn fields(job: &Job) -> Vec<(&'static str, String)> {
    let granularity = |what: &str| ("timestamp_granularities[]", what.to_owned());
    let mut fields = vec![
        ("response_format", "verbose_json".to_owned()),
        ("stream", "true".to_owned()),
        granularity("segment"),
    ];
    if job.words {
        fields.push(granularity("word"));
    }
    fields.extend(job.language.clone().map(|language| ("language", language)));
    fields.extend(job.prompt.clone().map(|prompt| ("prompt", prompt)));
    fields
}

fn bearer(key: &str) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::try_from(format!("Bearer {key}"))
        .map_err(|_| Error::Usage("the API key holds characters that no header takes".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Where each transcript goes, told before anything is sent.
fn targets(job: &Job) -> Result<BTreeMap<&Path, PathBuf>, Error> {
    if job.words && job.format != Format::Json {
        return Err(Error::Usage(
            "--words needs --format json: the other formats have no times of words".to_owned(),
        ));
    }
    let Some(folder) = &job.output else {
        return match job.format {
            Format::Srt | Format::Vtt if job.files.len() > 1 => Err(Error::Usage(
                "subtitles of several files do not go into one: give --output DIR".to_owned(),
            )),
            _ => Ok(BTreeMap::new()),
        };
    };
    let mut taken: BTreeMap<PathBuf, &Path> = BTreeMap::new();
    let mut targets = BTreeMap::new();
    for file in &job.files {
        let stem = file.file_stem().unwrap_or_default();
        let mut target = folder.join(stem).into_os_string();
        target.push(format!(".{}", job.format.extension()));
        let target = PathBuf::from(target);
        if target == *file {
            return Err(Error::Usage(format!(
                "{} would be written over itself",
                file.display()
            )));
        }
        if let Some(other) = taken.insert(target.clone(), file) {
            let (other, file, target) = (other.display(), file.display(), target.display());
            return Err(Error::Usage(format!(
                "{other} and {file} would both be written to {target}"
            )));
        }
        targets.insert(file.as_path(), target);
    }
    Ok(targets)
}

async fn write(transcript: &Transcript, format: Format, target: Option<&PathBuf>) -> Result<(), Error> {
    let text = transcript.written(format);
    match target {
        Some(path) => fs::write(path, text).await.map_err(|e| unwritten(path, e)),
        None => print(&text),
    }
}

fn unwritten(path: &Path, source: std::io::Error) -> Error {
    Error::File {
        doing: "write",
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(files: &[&str], format: Format, output: Option<&str>) -> Job {
        Job {
            files: files.iter().map(PathBuf::from).collect(),
            wanted: "calls".parse().unwrap(),
            format,
            language: Some("en".into()),
            prompt: Some("Digits.".into()),
            words: false,
            output: output.map(PathBuf::from),
            api_key: None,
            tls: TlsArgs::default(),
            retry_for: Duration::ZERO,
            quiet: true,
        }
    }

    fn refusal(job: &Job) -> String {
        targets(job).unwrap_err().to_string()
    }

    #[test]
    fn no_two_transcripts_go_into_one_file() {
        let two = ["a/one.wav", "b/one.mp3"];
        assert!(refusal(&job(&two, Format::Srt, None)).contains("--output DIR"));
        assert_eq!(
            refusal(&job(&two, Format::Srt, Some("out"))),
            "a/one.wav and b/one.mp3 would both be written to out/one.srt"
        );
        assert!(refusal(&job(&["out/one.txt"], Format::Txt, Some("out"))).contains("over itself"));
        let good = job(&["a/one.two.wav", "b/three.wav"], Format::Json, Some("out"));
        let targets: Vec<PathBuf> = targets(&good).unwrap().into_values().collect();
        assert_eq!(
            targets,
            [PathBuf::from("out/one.two.json"), PathBuf::from("out/three.json")]
        );
    }

    #[test]
    fn times_of_words_need_a_format_that_holds_them() {
        let mut words = job(&["a.wav"], Format::Txt, None);
        words.words = true;
        assert!(refusal(&words).contains("--format json"));
        words.format = Format::Json;
        assert!(targets(&words).is_ok());
        assert!(fields(&words).contains(&("timestamp_granularities[]", "word".into())));
        assert!(fields(&words).contains(&("language", "en".into())));
        assert!(fields(&words).contains(&("prompt", "Digits.".into())));
    }

    #[test]
    fn each_file_begins_with_another_pod() {
        let place = |pod: &str| Place {
            namespace: "n".into(),
            pod: pod.into(),
            port: 1,
            tls: None,
        };
        let places = [place("a"), place("b"), place("c")];
        let order = |turn| {
            rotated(&places, turn)
                .map(|one| one.pod.clone())
                .collect::<String>()
        };
        assert_eq!([order(0), order(1), order(5)], ["abc", "bca", "cab"]);
    }
}
