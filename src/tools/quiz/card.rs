//! The card of a quiz: the widget with the open question, or with the result.
//!
//! A client can send any action, so the card only offers the possible next actions; the quiz's aggregate decides which
//! question is open and which answer is right. A [`QuizView`] has no answers that were not found yet, and the card shows
//! hints and explanations only when they are due.

use aggregates::quiz::{AnswerStatus, Answered, QuestionView, QuizView};

use crate::widgets::build::{
    Action, Align, Badge, BadgeColor, Button, ButtonStyle, Caption, Card, CardSize, Color, Component,
    Direction, Form, Icon, Layout, Payload, RadioGroup, RadioOption, Radius, Text, TextSize, Title,
    TitleSize, Variant,
};
use crate::widgets::{IconName, Widget};

/// Action: the user marked a choice.
pub const SELECT: &str = "mcq.select";
/// Action: the user submits the marked choice.
pub const SUBMIT: &str = "mcq.submit";
/// Action: the user clears the mark.
pub const CLEAR: &str = "mcq.clear";
/// Action: go to the next question.
pub const NEXT: &str = "mcq.next";
/// Action: show the result.
pub const FINISH: &str = "mcq.finish";
/// Field of an action's payload that holds the marked choice.
pub const ANSWER: &str = "answer";

/// Builds the card for the current state of a quiz.
#[must_use]
pub fn quiz_card(quiz: &QuizView) -> Widget {
    let children = if quiz.finished { result(quiz) } else { question(quiz) };
    Card { children, size: Some(CardSize::Md) }.build()
}

fn question(quiz: &QuizView) -> Vec<Component> {
    let QuestionView { prompt, status, hint, explanation, .. } = &quiz.question;
    let position = format!("Question {} of {}", quiz.index, quiz.total);
    let mut children = vec![
        head(position),
        title(prompt.clone()),
        Component::Form(Form {
            children: vec![Component::Col(Layout {
                children: vec![choices(quiz), buttons(quiz)],
                gap: Some(3),
                ..Layout::default()
            })],
            on_submit_action: action(SUBMIT, quiz),
        }),
    ];
    match status {
        AnswerStatus::Idle => {}
        AnswerStatus::Incorrect => {
            children.push(feedback(IconName::QUESTION, Color::PaleYellow, hint, "Try again."));
        }
        AnswerStatus::Correct => {
            children.push(feedback(IconName::CHECK, Color::PaleGreen, explanation, "Nice work!"));
        }
    }
    children
}

fn head(text: String) -> Component {
    Component::Row(Layout {
        children: vec![
            Component::Caption(Caption { value: text }),
            Component::Spacer {},
            Component::Badge(Badge { label: "MCQ".to_owned(), color: Some(BadgeColor::Info) }),
        ],
        ..Layout::default()
    })
}

fn title(value: String) -> Component {
    Component::Title(Title { value, size: Some(TitleSize::Sm) })
}

fn text(value: String) -> Component {
    Component::Text(Text { value, ..Text::default() })
}

fn choices(quiz: &QuizView) -> Component {
    let QuestionView { prompt, options, selected, status, .. } = &quiz.question;
    let option = |choice: &aggregates::quiz::Choice| RadioOption {
        label: choice.label.clone(),
        value: choice.value.clone(),
    };
    let marking = Payload { attempt: None, ..payload(quiz) };
    Component::RadioGroup(RadioGroup {
        name: ANSWER.to_owned(),
        options: options.iter().map(option).collect(),
        aria_label: Some(prompt.clone()),
        on_change_action: Some(Action::quiet(SELECT, marking)),
        default_value: Some(selected.clone().unwrap_or_default()),
        direction: Some(Direction::Col),
        disabled: Some(*status == AnswerStatus::Correct),
        required: Some(true),
    })
}

fn buttons(quiz: &QuizView) -> Component {
    let status = quiz.question.status;
    let is_found = status == AnswerStatus::Correct;
    let submit = if status == AnswerStatus::Incorrect { "Try again" } else { "Submit answer" };
    let (forward, name) = if quiz.index >= quiz.total { ("Finish", FINISH) } else { ("Next", NEXT) };
    Component::Row(Layout {
        children: vec![
            Component::Button(Button {
                label: submit.to_owned(),
                submit: Some(true),
                style: Some(ButtonStyle::Primary),
                disabled: Some(is_found),
                ..Button::default()
            }),
            Component::Button(Button {
                label: "Clear".to_owned(),
                variant: Some(Variant::Outline),
                on_click_action: Some(action(CLEAR, quiz)),
                ..Button::default()
            }),
            Component::Spacer {},
            Component::Button(Button {
                label: forward.to_owned(),
                icon_end: Some(IconName::FORWARD),
                disabled: Some(!is_found),
                on_click_action: Some(action(name, quiz)),
                ..Button::default()
            }),
        ],
        ..Layout::default()
    })
}

fn feedback(icon: IconName, background: Color, text: &Option<String>, otherwise: &str) -> Component {
    let words = text.as_deref().unwrap_or(otherwise).to_owned();
    Component::Row(Layout {
        children: vec![
            Component::Box(Layout {
                children: vec![Component::Icon(Icon { name: icon, color: None })],
                radius: Some(Radius::Full),
                ..Layout::default()
            }),
            self::text(words),
        ],
        gap: Some(2),
        padding: Some(3),
        background: Some(background),
        radius: Some(Radius::Md),
        align: Some(Align::Start),
        ..Layout::default()
    })
}

fn action(name: &str, quiz: &QuizView) -> Action {
    Action::streamed(name, payload(quiz))
}

fn payload(quiz: &QuizView) -> Payload {
    let question = &quiz.question;
    let attempt = question.attempts.saturating_add(1);
    Payload { question_id: question.id.clone(), index: quiz.index, attempt: Some(attempt) }
}

fn result(quiz: &QuizView) -> Vec<Component> {
    let mut children = vec![
        head(quiz.topic.clone()),
        title("Quiz finished".to_owned()),
        text(format!("{} of {} right at the first try.", quiz.score, quiz.total)),
        Component::Divider {},
    ];
    children.extend(quiz.answered.iter().map(answered));
    children
}

fn answered(question: &Answered) -> Component {
    let tries = match question.attempts {
        1 => "1 try".to_owned(),
        many => format!("{many} tries"),
    };
    let color = if question.attempts == 1 { Color::Success } else { Color::Secondary };
    Component::Row(Layout {
        children: vec![
            Component::Icon(Icon { name: IconName::CHECK, color: Some(color) }),
            Component::Text(Text {
                value: question.prompt.clone(),
                size: Some(TextSize::Sm),
                color: None,
                max_lines: Some(2),
            }),
            Component::Spacer {},
            Component::Caption(Caption { value: tries }),
        ],
        gap: Some(2),
        align: Some(Align::Center),
        ..Layout::default()
    })
}

#[cfg(test)]
mod tests;
