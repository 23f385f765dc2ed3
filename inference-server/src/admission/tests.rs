//! The queue against a model of itself, and the cases that matter by name.

use std::{collections::VecDeque, future::Future, pin::Pin, task::Context};

use futures::task::noop_waker;
use proptest::prelude::*;

use super::*;

type Waiting = Pin<Box<dyn Future<Output = Permit>>>;

fn poll(waiting: &mut Waiting) -> Option<Permit> {
    match waiting.as_mut().poll(&mut Context::from_waker(&noop_waker())) {
        std::task::Poll::Ready(permit) => Some(permit),
        std::task::Poll::Pending => None,
    }
}

fn queue_up(admission: &Arc<Admission>) -> Result<Waiting, Full> {
    admission
        .enter()
        .map(|place| Box::pin(place.permit(Duration::ZERO)) as Waiting)
}

#[test]
fn a_full_queue_refuses_with_a_delay_and_admits_again_when_one_leaves() {
    let admission = Admission::new(1, 1);
    let running = poll(&mut queue_up(&admission).unwrap()).expect("the first one runs at once");
    let mut waiting = queue_up(&admission).unwrap();
    assert!(poll(&mut waiting).is_none());
    assert_eq!(
        admission.load(),
        Load {
            running: 1,
            queued: 1
        }
    );

    let full = queue_up(&admission).err().expect("the queue is full");
    assert_eq!(
        full.load,
        Load {
            running: 1,
            queued: 1
        }
    );
    assert_eq!(
        full.retry_after,
        FIRST_GUESS * 2,
        "one waits before the next one, each takes the first guess"
    );

    drop(waiting);
    let mut next = queue_up(&admission).expect("the client that was waiting is gone");
    assert!(poll(&mut next).is_none());
    drop(running);
    assert!(poll(&mut next).is_some());
}

#[test]
fn without_a_queue_only_the_permits_are_places() {
    let admission = Admission::new(2, 0);
    let places = (admission.enter().unwrap(), admission.enter().unwrap());
    assert_eq!(
        admission.load(),
        Load {
            running: 0,
            queued: 2
        },
        "they have not asked for their permits yet"
    );
    assert!(admission.enter().is_err());
    drop(places);
    assert!(admission.enter().is_ok());
}

#[test]
fn the_delay_follows_the_time_that_requests_took_within_bounds() {
    let admission = Admission::new(1, 0);
    let mut permit = poll(&mut queue_up(&admission).unwrap()).unwrap();
    permit.since = Instant::now().checked_sub(Duration::from_secs(20)).unwrap();
    drop(permit);
    let _held = admission.enter().unwrap();
    let hint = admission.enter().err().unwrap().retry_after;
    assert!(
        (Duration::from_secs(8)..Duration::from_secs(11)).contains(&hint),
        "(4 × 1 s + 20 s) / 5 × 2, not {hint:?}"
    );

    admission
        .state
        .send_modify(|state| state.service_time = Duration::from_secs(3600));
    assert_eq!(admission.enter().err().unwrap().retry_after, RETRY_AFTER.1);
    admission
        .state
        .send_modify(|state| state.service_time = Duration::ZERO);
    assert_eq!(admission.enter().err().unwrap().retry_after, RETRY_AFTER.0);
}

#[tokio::test]
async fn idle_waits_for_the_last_one() {
    let admission = Admission::new(1, 1);
    admission.idle().await;
    let place = admission.enter().unwrap();
    let mut idle = Box::pin(admission.idle());
    assert!(futures::poll!(&mut idle).is_pending());
    drop(place);
    idle.await;
}

#[derive(Clone, Debug)]
enum Step {
    Arrive,
    Leave(prop::sample::Index),
    Finish(prop::sample::Index),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => Just(Step::Arrive),
        1 => any::<prop::sample::Index>().prop_map(Step::Leave),
        2 => any::<prop::sample::Index>().prop_map(Step::Finish),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    /// Whatever arrives, leaves and finishes: the bounds hold, nobody is refused who fits, and who came first runs first.
    #[test]
    fn any_order_of_events_keeps_the_bounds_and_the_order(max in 1..4_usize, limit in 0..5_usize, steps in steps()) {
        let admission = Admission::new(max, limit);
        let mut running: Vec<Permit> = Vec::new();
        let mut waiting: VecDeque<Waiting> = VecDeque::new();
        for step in steps {
            match step {
                Step::Arrive => {
                    let fits = running.len() + waiting.len() < max + limit;
                    let entered = queue_up(&admission);
                    prop_assert_eq!(entered.is_ok(), fits);
                    waiting.extend(entered.ok());
                }
                Step::Leave(index) if !waiting.is_empty() => drop(waiting.remove(index.index(waiting.len()))),
                Step::Finish(index) if !running.is_empty() => drop(running.remove(index.index(running.len()))),
                Step::Leave(_) | Step::Finish(_) => {}
            }
            let free = max - running.len();
            // Polled from the back, so that being polled early is no advantage.
            let ready: Vec<Option<Permit>> = waiting.iter_mut().rev().map(poll).collect();
            let admitted = ready.iter().rev().take_while(|permit| permit.is_some()).count();
            prop_assert_eq!(ready.iter().filter(|permit| permit.is_some()).count(), admitted, "a later one ran first");
            prop_assert_eq!(admitted, free.min(waiting.len()));
            waiting.drain(..admitted);
            running.extend(ready.into_iter().flatten());
            prop_assert_eq!(admission.load(), Load { running: running.len(), queued: waiting.len() });
        }
        drop((running, waiting));
        prop_assert_eq!(admission.load(), Load { running: 0, queued: 0 });
    }
}

fn job(admission: &Arc<Admission>, audio: Duration) -> Waiting {
    let place = admission.enter().expect("a place");
    Box::pin(place.permit(audio))
}

const CLIP: Duration = Duration::from_secs(3);
const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn clips_go_before_hours_of_audio_which_are_overtaken_only_so_often() {
    let admission = Admission::new(1, 100);
    let mut running = poll(&mut job(&admission, CLIP));
    let mut long = job(&admission, HOUR);
    assert!(poll(&mut long).is_none());
    let mut clips: VecDeque<Waiting> = (0..PATIENCE + 2).map(|_| job(&admission, CLIP)).collect();
    clips.iter_mut().for_each(|clip| assert!(poll(clip).is_none()));
    assert_eq!(admission.queued_audio(), HOUR + CLIP * (PATIENCE as u32 + 2));
    for _ in 0..PATIENCE {
        drop(running.take());
        running = poll(&mut clips.pop_front().unwrap());
        assert!(running.is_some() && poll(&mut long).is_none());
    }
    drop(running.take());
    assert!(poll(&mut clips[0]).is_none(), "it is the long one's turn");
    assert!(poll(&mut long).is_some());
}

#[test]
fn a_long_job_lets_clips_pass_between_its_parts_and_goes_on_before_other_long_ones() {
    let admission = Admission::new(1, 100);
    let mut permit = poll(&mut job(&admission, HOUR)).unwrap();
    let mut other = job(&admission, HOUR);
    assert!(poll(&mut other).is_none());
    {
        let mut alone = Box::pin(permit.let_short_ones_pass());
        assert!(
            alone
                .as_mut()
                .poll(&mut Context::from_waker(&noop_waker()))
                .is_ready(),
            "no clip waits"
        );
    }
    let mut clip = job(&admission, CLIP);
    assert!(poll(&mut clip).is_none());
    let mut passing = Box::pin(permit.let_short_ones_pass());
    let mut resumed = || {
        passing
            .as_mut()
            .poll(&mut Context::from_waker(&noop_waker()))
            .is_ready()
    };
    assert!(!resumed());
    let running = poll(&mut clip).expect("the clip runs");
    assert!(!resumed());
    drop(running);
    assert!(resumed(), "the clip is done");
    assert!(poll(&mut other).is_none());
    drop(passing);
    drop(permit);
    assert!(poll(&mut other).is_some());
}

#[test]
fn a_job_whose_turn_would_come_too_late_is_refused_once_the_speed_is_known() {
    let admission = Admission::new(1, 100);
    let _running = poll(&mut job(&admission, HOUR)).unwrap();
    let mut waiting = job(&admission, HOUR);
    assert!(poll(&mut waiting).is_none());
    assert_eq!(admission.overdue(HOUR, CLIP), None, "nothing has been measured");
    admission.measured(HOUR, HOUR / 10);
    let full = admission
        .overdue(HOUR, CLIP)
        .expect("six minutes of work are before it");
    assert_eq!(full.retry_after, RETRY_AFTER.1);
    assert_eq!(admission.overdue(HOUR, HOUR), None);
    assert_eq!(
        admission.overdue(CLIP, CLIP),
        None,
        "clips do not wait for long jobs"
    );
    drop(waiting);
    assert_eq!(
        admission.queued_audio(),
        HOUR,
        "who left is forgotten when the next one comes"
    );
    let _next = poll(&mut job(&admission, HOUR));
    assert_eq!(admission.queued_audio(), HOUR);
}

#[test]
fn a_server_is_stuck_when_every_permit_is_held_long_after_its_time() {
    let admission = Admission::new(2, 0);
    let permits = [(); 2].map(|()| poll(&mut job(&admission, CLIP)).unwrap());
    assert!(!admission.stuck(), "they may take their time");
    let long_ago = Instant::now().checked_sub(STUCK_AFTER + CLIP).unwrap();
    permits[0].must_end_by(long_ago);
    permits[1].must_end_by(Instant::now());
    assert!(!admission.stuck(), "one is only late");
    let [first, second] = permits;
    drop(second);
    let last = poll(&mut job(&admission, CLIP)).unwrap();
    last.must_end_by(long_ago);
    assert!(admission.stuck());
    drop(first);
    assert!(!admission.stuck(), "one has ended after all");
}
