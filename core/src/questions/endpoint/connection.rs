//! Asking an endpoint: many questions at once, again where it is busy, within a budget, and none of them twice.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};

use super::exchanges::ExchangeCache;
use super::{Endpoint, chat};
use crate::base::locked;
use crate::common::*;
use crate::net::{Answer, Server, pause, wait_for};
use crate::questions::{Answers, Question, Reply};

/// Bytes of an answer, at most.
const MOST: u64 = 16 << 20;

/// A server that wants to be left alone for longer is not waited for.
const LONGEST_WAIT: u64 = 600;

/// Longest silence of a server; an answer of a thousand tokens takes minutes on a small machine.
const SILENCE: Duration = Duration::from_secs(600);

/// An endpoint with the rules of a run, and the exchanges that were kept.
pub struct EndpointConnection<'a> {
    endpoint: &'a Endpoint,
    access: &'a Access,
    kept: Option<ExchangeCache>,
}

/// The state that the workers of a call share.
struct WorkerState<'a> {
    /// Each request with its tokens, about: those of the question, and those of the longest answer.
    asked: &'a [(&'a str, u64)],
    next: AtomicUsize,
    is_over: AtomicBool,
    /// Tokens used, and those set aside for questions that are under way.
    tokens: Mutex<u64>,
}

impl WorkerState<'_> {
    /// Returns the next question, unless the work is over.
    fn next(&self) -> Option<(usize, &str, u64)> {
        if self.is_over.load(Ordering::Relaxed) {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.asked.get(number).map(|(request, tokens)| (number, *request, *tokens))
    }

    /// Sets tokens aside, if they are within the budget.
    fn reserve(&self, tokens: u64, budget: Option<usize>) -> bool {
        let mut used = locked(&self.tokens);
        let after = used.saturating_add(tokens);
        let is_within = budget.is_none_or(|budget| after <= budget as u64);
        if is_within {
            *used = after;
        }
        is_within
    }

    /// Counts what was used in place of what was set aside.
    fn settle(&self, reserved: u64, used: u64) {
        let mut all = locked(&self.tokens);
        *all = all.saturating_sub(reserved).saturating_add(used);
    }

    fn used(&self) -> u64 {
        *locked(&self.tokens)
    }
}

impl<'a> EndpointConnection<'a> {
    /// Exchanges are kept in the cache folder, if there is one and the rules allow it.
    pub fn new(endpoint: &'a Endpoint, access: &'a Access, cache: Option<&Path>) -> Result<Self> {
        let kept = cache.map(|cache| ExchangeCache::open(cache, access)).transpose()?.flatten();
        Ok(Self { endpoint, access, kept })
    }

    /// Returns the answer to one question.
    pub fn answer(&self, question: &str, task: &Task) -> Result<String> {
        let question = Question {
            system: String::new(),
            user: question.into(),
            tokens: self.endpoint.options.tokens,
            chances: false,
        };
        let reply = self.answers(&[question], task)?.pop();
        reply.unwrap_or_else(|| Err(err!(Bug, "a question without an answer"))).map(|reply| reply.text)
    }

    /// Asks what was never asked, and passes each answer on when it comes.
    fn ask(&self, asked: &[(&str, u64)], mut take: impl FnMut(usize, String) -> Result<()>, task: &Task) -> Result<()> {
        let key = self.endpoint.key()?;
        let shared =
            WorkerState { asked, next: AtomicUsize::new(0), is_over: AtomicBool::new(false), tokens: Mutex::new(0) };
        let bar = task.begin(&format!("asking {}", self.endpoint.options.model), Some(asked.len() as u64));
        let (sender, receiver) = mpsc::channel();
        let mut answered = 0_usize;
        let mut failure = None;
        let work = |sender: mpsc::Sender<Result<(usize, String)>>| {
            if let Err(error) = self.work(&shared, key.as_deref(), &sender, task) {
                shared.is_over.store(true, Ordering::Relaxed);
                // The receiver outlives the workers.
                let _heard = sender.send(Err(error));
            }
        };
        std::thread::scope(|scope| {
            for number in 0..self.endpoint.options.parallel.min(asked.len()) {
                let sender = sender.clone();
                let work = &work;
                let started = std::thread::Builder::new().spawn_scoped(scope, move || work(sender));
                if let Err(e) = started {
                    // One is enough.
                    failure = (number == 0).then(|| err!(Memory, "cannot start a thread: {e}"));
                    break;
                }
            }
            drop(sender);
            for found in receiver {
                match found.and_then(|(number, answer)| take(number, answer)) {
                    Ok(()) => {
                        answered += 1;
                        bar.advance(1);
                    }
                    Err(error) => {
                        shared.is_over.store(true, Ordering::Relaxed);
                        // An interruption is what it is, whatever else fails because of it.
                        if failure.is_none() || error.kind == Kind::Interrupted {
                            failure = Some(error);
                        }
                    }
                }
            }
        });
        let Some(error) = failure else { return Ok(()) };
        let of = asked.len();
        Err(match (&self.kept, error.kind) {
            (Some(_), kind) if answered > 0 && kind != Kind::Interrupted => {
                let kept = format!("{answered} of {of} answers are kept, and the next call asks for the others only");
                let hint = error.hint.as_ref().map_or(kept.clone(), |hint| format!("{hint}; {kept}"));
                error.hint(hint)
            }
            _ => error,
        })
    }

    /// Takes one question after the other, on a thread of its own.
    fn work(
        &self,
        shared: &WorkerState,
        key: Option<&str>,
        found: &mpsc::Sender<Result<(usize, String)>>,
        task: &Task,
    ) -> Result<()> {
        let budget = self.endpoint.options.budget;
        wait_for(async {
            // A connection belongs to the runtime that it was opened in.
            let server = Server::patient(self.access, key, SILENCE)?;
            while let Some((number, request, tokens)) = shared.next() {
                if !shared.reserve(tokens, budget) {
                    let all = shared.asked.len();
                    let used = shared.used();
                    return Err(err!(
                        Argument,
                        "expected {all} questions to take at most {} tokens, found that one more might not fit: {used} \
                         are used or set aside",
                        budget.unwrap_or_default()
                    )
                    .hint("choose a larger `budget`"));
                }
                let answer = self.ask_one(&server, request, key, task).await?;
                shared.settle(tokens, chat::usage(&answer).unwrap_or(tokens));
                if found.send(Ok((number, answer))).is_err() {
                    break;
                }
            }
            Ok(())
        })
    }

    /// Returns the answer to a request; a server that is busy or gone is asked again.
    async fn ask_one(&self, server: &Server, request: &str, key: Option<&str>, task: &Task) -> Result<String> {
        let base = self.endpoint.url.as_str().trim_end_matches('/');
        let address = format!("{base}/chat/completions");
        let name = self.endpoint.address();
        let without_key = |text: String| match key {
            Some(key) => text.replace(key, "<key>"),
            None => text,
        };
        let mut tries = 0;
        loop {
            let may_again = tries < self.endpoint.options.retries;
            let seconds = match server.post(task, &address, &name, request.to_string(), MOST).await {
                Ok(found) if found.status == 200 => {
                    return Ok(without_key(String::from_utf8_lossy(&found.content).into_owned()));
                }
                Ok(found) if may_again && matches!(found.status, 429 | 500 | 502 | 503 | 504) => {
                    found.retry_after.unwrap_or(1 << tries)
                }
                Ok(found) => return Err(self.refused(&found, without_key)),
                Err(error) if may_again && error.kind == Kind::Network => 1 << tries,
                Err(error) => return Err(Error { message: without_key(error.message.clone()), ..error }),
            };
            if seconds > LONGEST_WAIT {
                return Err(err!(Network, "{name} asks to be left alone for {seconds} seconds").hint("try again then"));
            }
            pause(task, Duration::from_secs(seconds)).await?;
            tries += 1;
        }
    }

    fn refused(&self, found: &Answer, without_key: impl Fn(String) -> String) -> Error {
        let said = without_key(String::from_utf8_lossy(&found.content).into_owned());
        let beginning: String = said.chars().take(200).collect();
        err!(Network, "{} answered {}: {beginning}", self.endpoint.address(), found.status).hint(match found.status {
            400 | 422 => "some servers offer no probabilities of tokens: #{ logprobs: false }".into(),
            401 | 403 => format!("it wants a key: set {}", self.endpoint.options.key),
            404 => "expected the address up to `/v1`, and the name of a model that the server has".into(),
            _ => "see what the server says".into(),
        })
    }
}

impl Answers for EndpointConnection<'_> {
    fn name(&self) -> String {
        self.endpoint.options.model.clone()
    }

    fn answers(&self, questions: &[Question], task: &Task) -> Result<Vec<Result<Reply>>> {
        let address = self.endpoint.address();
        let requests: Vec<String> =
            questions.iter().map(|question| chat::request(question, &self.endpoint.options)).collect();
        let mut answers: BTreeMap<&str, Option<String>> = BTreeMap::new();
        let mut asked = Vec::new();
        let mut from = 0_u64;
        let mut to = 0_u64;
        for (request, question) in requests.iter().zip(questions) {
            if answers.contains_key(request.as_str()) {
                continue;
            }
            task.check()?;
            let known = self.kept.as_ref().map(|kept| kept.find(&address, request)).transpose()?.flatten();
            if known.is_none() {
                let tokens = chat::estimate(question);
                asked.push((request.as_str(), tokens.saturating_add(question.tokens as u64)));
                (from, to) = (from.saturating_add(tokens), to.saturating_add(question.tokens as u64));
            }
            answers.insert(request, known);
        }
        if !asked.is_empty() {
            let kept = answers.len() - asked.len();
            task.say(&format!(
                "{address}: {} questions to ask, {kept} answered before; about {from} tokens to send, at most {to} to get",
                asked.len()
            ));
            let take = |number: usize, answer: String| {
                let Some((request, _)) = asked.get(number) else { return Ok(()) };
                if let Some(kept) = &self.kept {
                    kept.put(&address, request, &answer)?;
                }
                answers.insert(request, Some(answer));
                Ok(())
            };
            self.ask(&asked, take, task)?;
        }
        let read = |request: &String| match answers.get(request.as_str()) {
            Some(Some(answer)) => chat::read(answer, &address),
            _ => Err(err!(Bug, "a question without an answer")),
        };
        Ok(requests.iter().map(read).collect())
    }
}
