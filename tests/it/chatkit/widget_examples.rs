//! Examples of widgets: the quiz card in each of its states, and one card with every component.

use aggregates::ids::{ConversationId, QuizId};
use aggregates::quiz::{AnswerStatus, Answered, Choice, QuestionView, QuizView};
use serde_json::json;
use uuid::Uuid;
use verbatim::tools::quiz::quiz_card;
use verbatim::widgets::{self, Widget};

/// Returns a quiz of two questions, of which the first is open.
pub(super) fn quiz() -> QuizView {
    QuizView {
        quiz_id: QuizId::new(Uuid::nil()),
        conversation_id: ConversationId::new(Uuid::nil()),
        topic: "Planets".to_owned(),
        finished: false,
        index: 1,
        total: 2,
        score: 0,
        question: QuestionView {
            id: "q1".to_owned(),
            prompt: "Which planet is the largest?".to_owned(),
            options: [("a", "Mars"), ("b", "Jupiter"), ("c", "Venus")]
                .map(|(value, label)| Choice { value: value.to_owned(), label: label.to_owned() })
                .into(),
            selected: None,
            status: AnswerStatus::Idle,
            attempts: 0,
            hint: None,
            explanation: None,
        },
        answered: Vec::new(),
    }
}

pub(super) fn widgets() -> Vec<(&'static str, Widget)> {
    let asked = |change: &dyn Fn(&mut QuizView)| {
        let mut quiz = quiz();
        change(&mut quiz);
        quiz_card(&quiz)
    };
    let answered = |id: &str, prompt: &str, attempts| Answered {
        question_id: id.to_owned(),
        prompt: prompt.to_owned(),
        answer: "Jupiter".to_owned(),
        attempts,
    };
    vec![
        ("quiz_idle", asked(&|_| {})),
        ("quiz_selected", asked(&|quiz| quiz.question.selected = Some("a".to_owned()))),
        (
            "quiz_incorrect",
            asked(&|quiz| {
                quiz.question.selected = Some("a".to_owned());
                quiz.question.status = AnswerStatus::Incorrect;
                quiz.question.attempts = 1;
                quiz.question.hint = Some("It has a great red spot.".to_owned());
            }),
        ),
        (
            "quiz_correct",
            asked(&|quiz| {
                quiz.question.selected = Some("b".to_owned());
                quiz.question.status = AnswerStatus::Correct;
                quiz.question.attempts = 2;
                quiz.question.explanation = Some("Eleven Earths side by side.".to_owned());
            }),
        ),
        (
            "quiz_last_correct",
            asked(&|quiz| {
                quiz.index = 2;
                quiz.question.selected = Some("b".to_owned());
                quiz.question.status = AnswerStatus::Correct;
                quiz.question.attempts = 1;
            }),
        ),
        (
            "quiz_score",
            asked(&|quiz| {
                quiz.finished = true;
                quiz.index = 2;
                quiz.score = 1;
                quiz.answered = vec![
                    answered("q1", "Which planet is the largest?", 2),
                    answered("q2", "And the one with the spot?", 1),
                ];
            }),
        ),
        ("every_component", everything()),
    ]
}

/// Returns one card with most components; those that only newer front ends support are left out.
fn everything() -> Widget {
    let action = json!({"type": "do", "payload": {"a": 1}, "handler": "client", "loadingBehavior": "container", "streaming": false});
    let widget = json!({
        "type": "Card", "id": "root", "key": "k", "size": "full", "asForm": true, "collapsed": false, "theme": "dark",
        "background": {"light": "white", "dark": "black"}, "padding": {"x": 2, "top": "1rem"},
        "status": {"text": "Ready", "icon": "check"},
        "confirm": {"label": "Yes", "action": action}, "cancel": {"label": "No", "action": action},
        "children": [
            {"type": "Row", "align": "baseline", "justify": "between", "wrap": "wrap", "flex": "1", "gap": 2, "children": [
                {"type": "Caption", "value": "small", "size": "lg", "weight": "bold"},
                {"type": "Spacer", "minSize": 3},
                {"type": "Badge", "label": "new", "color": "discovery", "variant": "soft", "size": "sm", "pill": true},
            ]},
            {"type": "Col", "width": 10.5, "maxHeight": "50%", "aspectRatio": 1.5, "children": [
                {"type": "Title", "value": "Head", "size": "5xl", "textAlign": "center", "truncate": true, "maxLines": 1},
                {"type": "Text", "id": "t", "value": "text", "streaming": true, "italic": true, "lineThrough": false,
                 "minLines": 2, "width": "20ch", "editable": {"name": "note", "required": true, "autoComplete": "off"}},
                {"type": "Text", "value": "fixed", "editable": false, "color": "tertiary"},
                {"type": "Markdown", "id": "m", "value": "*text*", "streaming": false},
                {"type": "Divider", "color": "subtle", "size": 1, "spacing": "2px", "flush": true},
                {"type": "Transition", "children": {"type": "Icon", "name": "sparkle", "size": "3xl", "color": "blue-500"}},
            ]},
            {"type": "Box", "direction": "row", "border": {"size": 1, "style": "dashed", "color": "strong"},
             "margin": 1, "radius": "100%", "children": [
                {"type": "Image", "src": "https://images.example/a.png", "alt": "a", "fit": "scale-down",
                 "position": "bottom right", "frame": true, "flush": false, "size": 40, "radius": "2xs"},
            ]},
            {"type": "Form", "onSubmitAction": action, "direction": "col", "border": {"top": 1, "x": {"size": 2}}, "children": [
                {"type": "Label", "value": "Name", "fieldName": "name", "size": "xs"},
                {"type": "Input", "name": "name", "inputType": "email", "defaultValue": "", "pattern": ".+", "gutterSize": "2xs", "pill": true},
                {"type": "Textarea", "name": "text", "rows": 2, "autoResize": true, "maxRows": 9, "variant": "outline"},
                {"type": "Select", "name": "s", "options": [{"value": "a", "label": "A", "disabled": false, "description": "first"}],
                 "onChangeAction": action, "clearable": true, "searchable": true, "variant": "ghost"},
                {"type": "RadioGroup", "name": "r", "options": [{"value": "a", "label": "A", "disabled": true}], "direction": "row"},
                {"type": "Checkbox", "name": "c", "label": "C", "defaultChecked": true, "required": true},
                {"type": "DatePicker", "name": "d", "min": "2026-01-01T00:00:00Z", "side": "top", "align": "end", "block": true},
                {"type": "Button", "submit": true, "label": "Go", "iconStart": "play", "style": "secondary", "iconSize": "2xl",
                 "color": "caution", "variant": "soft", "size": "3xs", "pill": true, "uniform": false, "block": true},
            ]},
            {"type": "Chart", "xAxis": {"dataKey": "day", "hide": false, "labels": {"1": "Mon"}}, "showLegend": true,
             "data": [{"day": "1", "sum": 2.5}], "barGap": 1, "height": 100,
             "series": [
                {"type": "bar", "label": "Sum", "dataKey": "sum", "stack": "a", "color": "red"},
                {"type": "area", "label": "Sum", "dataKey": "sum", "curveType": "natural"},
                {"type": "line", "label": "Sum", "dataKey": "sum", "curveType": "stepAfter"},
             ]},
        ],
    });
    widgets::validate(&widget).unwrap_or_else(|errors| panic!("{errors:#?}"))
}
