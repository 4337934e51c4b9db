//! Examples of pages, run in the session of their reader as their tests run them: a script up to each line that states what it comes
//! to, lines of the prompt one by one. Places in errors are those of the whole example.

use super::{LineFailure, Repl};
use crate::common::*;
use crate::script::docs::site::ExampleForm;
use crate::script::session::stated_results;

impl Repl {
    /// Runs an example, and answers each of its pieces as a line of the prompt, up to the first failure. `echo` is told what an
    /// answer belongs to, before it comes.
    pub fn run_example(&mut self, text: &str, form: ExampleForm, echo: &dyn Fn(&str)) -> Result<(), LineFailure> {
        let drawn = self.session().env().random.counts();
        // What begins anew draws what it draws in a new session.
        if matches!(form, ExampleForm::Script | ExampleForm::Session) {
            self.session().env().random.go_back(BTreeMap::new());
        }
        let outcome = self.run_pieces(text, form, echo);
        // A script of its own changes nothing of what is drawn after it.
        if form == ExampleForm::Script {
            self.session().env().random.go_back(drawn);
        }
        outcome
    }

    fn run_pieces(&mut self, text: &str, form: ExampleForm, echo: &dyn Fn(&str)) -> Result<(), LineFailure> {
        let lines: Vec<&str> = text.lines().collect();
        let mut begin = 0;
        while let Some(rest) = lines.get(begin..).filter(|rest| !rest.is_empty()) {
            let (piece, _) = rest.split_at(self.piece_length(rest, form));
            let code = piece.join("\n");
            if !code.trim().is_empty() {
                match piece.last() {
                    _ if is_typed(form) => echo(&code),
                    Some(line) if stated_results::states(line) => echo(line.trim()),
                    _ => {}
                }
                self.answer_piece(text, begin, &code)?;
            }
            begin += piece.len();
        }
        Ok(())
    }

    /// Returns the number of lines that are run together, of those that are left; at least one.
    fn piece_length(&self, lines: &[&str], form: ExampleForm) -> usize {
        let ends = |count: &usize| match lines.get(..*count) {
            Some(begun) if is_typed(form) => !self.is_unfinished(&begun.join("\n")),
            begun => begun.and_then(<[&str]>::last).is_some_and(|line| stated_results::states(line)),
        };
        (1..lines.len()).find(ends).unwrap_or(lines.len())
    }

    /// Answers a piece of a text that stands behind so many of its lines.
    fn answer_piece(&mut self, text: &str, before: usize, piece: &str) -> Result<(), LineFailure> {
        if piece.trim_start().starts_with(['?', ':']) {
            let _flow = self.submit(piece)?;
            return Ok(());
        }
        // Behind empty lines, so that places in it are those of the whole, under which errors are drawn.
        let outcome = self.answer(&format!("{}{piece}", "\n".repeat(before)));
        let name = format!("<{}>", self.lines);
        self.session().sources().add(&name, text);
        self.session().env().files.release();
        outcome
    }
}

/// Returns whether an example is lines of the prompt.
fn is_typed(form: ExampleForm) -> bool {
    matches!(form, ExampleForm::Session | ExampleForm::Typed)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::script::Session;

    fn repl() -> Repl {
        Repl::new(Session::for_tests(), false).without_rc()
    }

    /// Returns what an example echoes, what it prints, and its error as it is drawn.
    fn run(repl: &mut Repl, text: &str, form: ExampleForm) -> (Vec<String>, String, Option<String>) {
        let echoed = RefCell::new(Vec::new());
        let outcome = repl.run_example(text, form, &|line: &str| echoed.borrow_mut().push(line.to_string()));
        let drawn = outcome.err().map(|failure| repl.drawn(&failure));
        let printed = repl.session().env().console.take();
        (echoed.into_inner(), printed, drawn)
    }

    #[test]
    fn a_script_runs_up_to_each_line_that_states_its_value() {
        let mut repl = repl();
        let text = "let x = [1, 2];\nx.len  //=> 2\nlet y =\n    x[0] + 1;\ny  //=> 2\nprint(\"end\")";
        let (echoed, printed, error) = run(&mut repl, text, ExampleForm::Script);
        assert_eq!(echoed, ["x.len  //=> 2", "y  //=> 2"]);
        assert_eq!((printed.as_str(), error), ("2\n2\nend\n", None));
        // The next example of the page finds the variables.
        assert_eq!(run(&mut repl, "x.len + y", ExampleForm::Script).1, "4\n");
    }

    #[test]
    fn lines_of_a_prompt_are_answered_one_by_one_and_may_be_long() {
        let mut repl = repl();
        let text = "let x = 1;\n\nfn f(a) {\n    a + 1\n}\nf(x)\n[x,\n  2]\n";
        let (echoed, printed, error) = run(&mut repl, text, ExampleForm::Typed);
        assert_eq!(echoed, ["let x = 1;", "fn f(a) {\n    a + 1\n}", "f(x)", "[x,\n  2]"]);
        assert_eq!((printed.as_str(), error), ("2\n[1, 2]\n", None));
        assert!(run(&mut repl, "?plot::line", ExampleForm::Typed).1.contains("plot::line"));
    }

    #[test]
    fn an_error_is_drawn_under_its_line_of_the_whole_and_ends_the_example() {
        let mut repl = repl();
        for form in [ExampleForm::Script, ExampleForm::Part, ExampleForm::Typed] {
            let text = "let x = 1;\nx  //=> 1\nx + nothing\nprint(2)";
            let (_, printed, error) = run(&mut repl, text, form);
            let drawn = error.unwrap();
            assert!(drawn.contains(":3:5") && drawn.contains("x + nothing"), "{drawn}");
            assert_eq!(printed, "1\n");
            assert_eq!(repl.session().variable("x").map(|x| x.as_int()), Some(Ok(1)));
        }
    }

    #[test]
    fn a_script_draws_what_it_draws_in_a_new_session() {
        let mut repl = repl();
        let draw = "tensor::randn([3]).to_array()";
        let first = run(&mut repl, draw, ExampleForm::Script).1;
        assert_eq!(run(&mut repl, draw, ExampleForm::Script).1, first);
        let typed = run(&mut repl, draw, ExampleForm::Typed).1;
        assert_eq!(typed, first, "a script has left nothing drawn");
        assert_ne!(run(&mut repl, draw, ExampleForm::Part).1, first);
        assert_eq!(run(&mut repl, draw, ExampleForm::Script).1, first);
        assert_eq!(run(&mut repl, draw, ExampleForm::Session).1, first);
        assert_ne!(run(&mut repl, draw, ExampleForm::Typed).1, first);
    }
}
