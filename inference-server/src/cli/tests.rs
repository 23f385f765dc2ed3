//! The command line as people type it.

use clap::CommandFactory;

use super::*;
use crate::{
    evaluate,
    model::{Device, Precision},
    telemetry::LogFormat,
};

fn parse(line: &str) -> Result<Command, clap::Error> {
    Cli::try_parse_from(line.split_whitespace()).map(|cli| cli.command)
}

fn config(line: &str) -> run::Config {
    match parse(line) {
        Ok(Command::Serve(args)) => args.into_config().expect("a model is named"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn serve_has_the_defaults_that_are_documented() {
    let config = config("parlance-server serve --model /m");
    let expected = run::Config {
        model: "/m".into(),
        format: ModelFormat::Whisper,
        model_name: None,
        digest: None,
        dtype: None,
        device: Device::Auto,
        precision: Precision::Auto,
        threads: 0,
        grpc_addr: "0.0.0.0:50051".parse().unwrap(),
        http_addr: "0.0.0.0:8080".parse().unwrap(),
        tls: None,
        otlp_endpoint: None,
        settings: Settings {
            options: Options::default(),
            timeout: Duration::from_secs(90),
            max_audio_duration: Duration::from_secs(1800),
            max_message_size: 67_108_864,
            keys: None,
        },
        max_concurrent: 1,
        queue_limit: 16,
        drain_timeout: Duration::from_secs(25),
        log_format: LogFormat::Text,
        log_level: "info".into(),
    };
    assert_eq!(format!("{config:?}"), format!("{expected:?}"));
}

#[test]
fn every_flag_of_serve_reaches_the_config() {
    let config = config(
        "parlance-server serve --format onnx --model /m --model-name n --digest sha256:00 --dtype q8 --device cpu --precision int8 --threads 3 --grpc-addr 127.0.0.1:1 \
         --http-addr [::1]:2 --language NL --task translate --chunk-duration 20s --chunk-overlap 500ms --timeout 2m \
         --max-audio-duration 1h --max-message-size 1000 --max-concurrent 4 --queue-limit 0 --drain-timeout 0s \
         --log-format json --log-level debug --long-form sequential --vad false --word-timestamps --temperatures 0.5,1 \
         --beam-size 5 --patience 2 --best-of 3 --length-penalty 0.25 --compression-ratio-threshold 2.5 \
         --logprob-threshold -1.5 --no-speech-threshold 0.75 --seed 11 --initial-prompt hello --carry-initial-prompt \
         --hotwords zero --condition-on-previous-text false --chunk-silence 2s --channels separate --suppress-tokens -1,5 \
         --suppress-blank false --max-initial-timestamp 700ms --max-new-tokens 9 --prepended-punctuation -( \
         --appended-punctuation ) --hallucination-silence-threshold 1500ms \
         --tls-cert /tls.crt --tls-key /tls.key --tls-client-ca /ca.crt --otlp-endpoint http://collector:4317",
    );
    let said = format!("{config:?}");
    for part in [
        "\"/m\"",
        "format: Onnx",
        "Some(\"n\")",
        "sha256:00",
        "dtype: Some(Q8)",
        "device: Cpu",
        "precision: Int8",
        "threads: 3",
        "127.0.0.1:1",
        "[::1]:2",
        "cert: \"/tls.crt\"",
        "key: \"/tls.key\"",
        "client_ca: Some(\"/ca.crt\")",
        "otlp_endpoint: Some(\"http://collector:4317\")",
        "Code(\"nl\")",
        "Translate",
        "chunk_duration: 20s",
        "chunk_overlap: 500ms",
        "Sequential",
        "vad: None",
        "word_timestamps: true",
        "temperatures: [0.5, 1.0]",
        "beam_size: 5",
        "patience: 2.0",
        "best_of: 3",
        "length_penalty: Some(0.25)",
        "compression_ratio_threshold: Some(2.5)",
        "logprob_threshold: Some(-1.5)",
        "no_speech_threshold: Some(0.75)",
        "seed: 11",
        "initial_prompt: Some(\"hello\")",
        "carry_initial_prompt: true",
        "hotwords: Some(\"zero\")",
        "condition_on_previous_text: false",
        "chunk_silence: Some(2s)",
        "channels: Each",
        "suppress_tokens: [-1, 5]",
        "suppress_blank: false",
        "max_initial_timestamp: Some(700ms)",
        "max_new_tokens: Some(9)",
        "prepended: \"-(\"",
        "appended: \")\"",
        "hallucination_silence_threshold: Some(1.5s)",
        "timeout: 120s",
        "max_audio_duration: 3600s",
        "max_message_size: 1000",
        "max_concurrent: 4",
        "queue_limit: 0",
        "drain_timeout: 0ns",
        "Json",
        "\"debug\"",
    ] {
        assert!(said.contains(part), "{part} is missing in {said}");
    }
}

#[test]
fn what_counts_as_speech_can_be_tuned() {
    let flags = "--vad-threshold 0.25 --vad-min-speech 1s --vad-min-silence 2s --vad-speech-pad 3s";
    let said = format!(
        "{:?}",
        config(&format!("parlance-server serve --model /m {flags}"))
    );
    for part in [
        "threshold: 0.25",
        "min_speech: 1s",
        "min_silence: 2s",
        "speech_pad: 3s",
    ] {
        assert!(said.contains(part), "{part} is missing in {said}");
    }
}

#[test]
fn transcribe_takes_clips_as_openai_whisper_does() {
    let clips = |line: &str| match parse(&format!("parlance-server transcribe a.wav {line}")) {
        Ok(Command::Transcribe(args)) => args.into_request().options.clips,
        other => panic!("{other:?}"),
    };
    assert_eq!(clips(""), []);
    let seconds = Duration::from_secs_f64;
    let clip = |start, end: Option<f64>| Clip {
        start: seconds(start),
        end: end.map(seconds),
    };
    assert_eq!(
        clips("--clip-timestamps 1,2.5,4"),
        [clip(1.0, Some(2.5)), clip(4.0, None)]
    );
    assert!(parse("parlance-server transcribe a.wav --clip-timestamps 1,now").is_err());
}

#[test]
fn values_that_cannot_work_are_refused() {
    for flags in [
        "--max-concurrent 0",
        "--timeout 0s",
        "--max-audio-duration 0s",
        "--timeout soon",
        "--task sing",
        "--tls-cert /tls.crt",
        "--tls-key /tls.key",
        "--tls-client-ca /ca.crt",
        "--channels left",
        "--suppress-tokens all",
    ] {
        assert!(
            parse(&format!("parlance-server serve --model /m {flags}")).is_err(),
            "{flags}"
        );
    }
}

#[test]
fn fetch_needs_one_source_and_a_bundled_one_a_destination() {
    let fetch = |flags: &str| parse(&format!("parlance-server fetch {flags}"));
    for wrong in ["", "--to /t", "--bundled a", "--bundled a --from /f --to /t"] {
        assert!(fetch(wrong).is_err(), "{wrong:?}");
    }
    let request = |flags: &str| match fetch(flags) {
        Ok(Command::Fetch(args)) => args.into_request(),
        other => panic!("{other:?}"),
    };
    assert_eq!(request("--from /f").source, fetch::Source::Directory("/f".into()));
    let bundled = request("--bundled a --to /t --digest sha256:1 --report /r");
    assert_eq!(bundled.source, fetch::Source::Bundled("a".into()));
    assert_eq!(
        (bundled.to, bundled.report),
        (Some("/t".into()), Some("/r".into()))
    );
    assert_eq!(bundled.digest.as_deref(), Some("sha256:1"));
}

#[test]
fn a_source_elsewhere_needs_a_destination_and_has_its_own_flags() {
    let source = |flags: &str| match parse(&format!("parlance-server fetch --to /t {flags}")) {
        Ok(Command::Fetch(args)) => Ok(args.into_request().source),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.to_string()),
    };
    let said = |flags: &str| format!("{:?}", source(flags).unwrap());
    let hub = said("--hugging-face me/tiny");
    for part in ["\"me/tiny\"", "\"main\"", "variant: None", "huggingface.co"] {
        assert!(hub.contains(part), "{hub}");
    }
    let hub = said("--hugging-face me/tiny --revision v1 --variant q8 --hub http://m:1/h");
    for part in ["\"v1\"", "Some(Q8)", "\"m\"", "\"/h\""] {
        assert!(hub.contains(part), "{part} is missing in {hub}");
    }
    let bucket = said("--s3 models/a/b --s3-endpoint http://m --s3-region eu-west-1 --variant int8");
    for part in ["\"models\"", "\"a/b\"", "\"eu-west-1\"", "Some(Int8)"] {
        assert!(bucket.contains(part), "{part} is missing in {bucket}");
    }
    let links = source("--http-file path=a,url=http://h/a --http-file path=b,url=http://h/b").unwrap();
    let texts = vec![
        "path=a,url=http://h/a".to_owned(),
        "path=b,url=http://h/b".to_owned(),
    ];
    assert_eq!(links, fetch::Source::Remote(fetch::Remote::Http(texts)));
    for wrong in [
        "--hugging-face a/b/c",
        "--hugging-face ../a",
        "--hugging-face me/tiny --s3 models/a",
        "--hugging-face me/tiny --hub ftp://m",
        "--hugging-face me/tiny --variant q4",
        "--hugging-face me/tiny --hub-token-file /nowhere",
        "--s3 /a",
    ] {
        assert!(source(wrong).is_err(), "{wrong}");
    }
    assert!(parse("parlance-server fetch --hugging-face me/tiny").is_err());
}

#[test]
fn evaluate_reads_its_samples_and_refuses_a_threshold_that_is_none() {
    let request = |line: &str| match parse(line) {
        Ok(Command::Evaluate(args)) => Ok(args.into_request()),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.to_string()),
    };
    let asked =
        request("parlance-server evaluate --model /m --samples bundled --threshold 0.15 --language en")
            .unwrap();
    assert_eq!(
        (asked.samples, asked.threshold),
        (evaluate::Samples::Bundled, Some(0.15))
    );
    let asked =
        request("parlance-server evaluate --samples /s --metric wer --threshold 0 --report-only").unwrap();
    assert_eq!(
        (asked.samples, asked.report_only),
        (evaluate::Samples::Folder("/s".into()), true)
    );
    for threshold in ["-1", "NaN", "much"] {
        let line = format!("parlance-server evaluate --samples /s --threshold={threshold}");
        assert!(request(&line).unwrap_err().contains("--threshold"), "{threshold}");
    }
    assert!(
        request("parlance-server evaluate --threshold 1")
            .unwrap_err()
            .contains("--samples")
    );
}

const BATCH: &str = "parlance-server batch --from /a --to s3://b/c --service http://calls:50051";

fn batch(more: &str) -> Result<crate::batch::Request, String> {
    match parse(&format!("{BATCH} {more}")) {
        Ok(Command::Batch(args)) => Ok(args.into_request().0),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn batch_has_the_defaults_that_are_documented() {
    let request = batch("").unwrap();
    assert_eq!(request.formats, [Format::Text]);
    assert_eq!(request.extensions, crate::batch::EXTENSIONS);
    assert_eq!((request.shard.index, request.shard.count), (0, 1));
    assert_eq!((request.parallel, request.max_message_size), (4, 64 << 20));
    assert_eq!(request.retry_for, Duration::from_secs(1800));
    assert_eq!(request.drain_timeout, Duration::from_secs(25));
    assert!(request.address.key.is_none() && request.asked.word_timestamps.is_none());
}

#[test]
fn every_flag_of_batch_reaches_the_request() {
    let request = batch(
        "--format srt,json,srt --extensions .AMR,wav --parallel 2 --shards 3 --shard 2 --ca-file /ca --client-cert-file /cert \
         --client-key-file /key --retry-for 1h --max-message-size 9 --language nl --task translate --word-timestamps \
         --initial-prompt hello --hotwords zero --channels separate --s3-endpoint http://minio:9000 --s3-region eu \
         --drain-timeout 0s",
    );
    let said = format!("{:?}", request.unwrap());
    for part in [
        "Folder(\"/a\")",
        "Bucket(\"b\", \"c\")",
        "host: Some(Domain(\"calls\"))",
        "formats: [Srt, Json]",
        "[\"amr\", \"wav\"]",
        "parallel: 2",
        "index: 2, count: 3",
        "ca: Some(\"/ca\")",
        "Some((\"/cert\", \"/key\"))",
        "retry_for: 3600s",
        "max_message_size: 9",
        "Some(\"nl\")",
        "Some(Translate)",
        "word_timestamps: Some(true)",
        "Some(\"hello\")",
        "Some(\"zero\")",
        "Some(Each)",
        "Domain(\"minio\")",
        "Some(\"eu\")",
        "drain_timeout: 0ns",
    ] {
        assert!(said.contains(part), "{part} is missing in {said}");
    }
    for (wrong, said) in [
        ("--format text", "txt, srt, vtt or json"),
        ("--extensions txt", "what transcripts end in"),
        ("--shards 0", "--shards"),
        ("--parallel 0", "at least 1"),
        ("--client-cert-file /c", "--client-key-file"),
        ("--api-key-file /nowhere", "cannot be read"),
        ("--s3-endpoint ftp://b", "https://"),
    ] {
        let error = batch(wrong).unwrap_err();
        assert!(error.contains(said), "{wrong}: {error}");
    }
}
