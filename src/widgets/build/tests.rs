//! Everything that can be built is a valid widget.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::widgets::validate;

fn text() -> impl Strategy<Value = String> {
    ".{0,8}"
}

fn maybe<T: std::fmt::Debug + Clone>(strategy: impl Strategy<Value = T>) -> impl Strategy<Value = Option<T>> {
    proptest::option::of(strategy)
}

fn icon() -> impl Strategy<Value = IconName> {
    select(vec![IconName::CHECK, IconName::FORWARD, IconName::QUESTION])
}

fn action() -> BoxedStrategy<Action> {
    let payload = (text(), any::<u32>(), maybe(any::<u32>()));
    let action = (text(), payload, select(Handler::ALL), select(Loading::ALL), any::<bool>()).prop_map(
        |(name, (question_id, index, attempt), handler, loading_behavior, streaming)| {
            let payload = Payload { question_id, index, attempt };
            Action { name, payload, handler, loading_behavior, streaming }
        },
    );
    action.boxed()
}

fn leaf() -> BoxedStrategy<Component> {
    let radio = (
        (text(), vec((text(), text()), 0..4), maybe(text()), maybe(action())),
        (maybe(text()), maybe(select(Direction::ALL)), maybe(any::<bool>()), maybe(any::<bool>())),
    );
    let button = (
        (text(), maybe(any::<bool>()), maybe(select(ButtonStyle::ALL)), maybe(select(Variant::ALL))),
        (maybe(icon()), maybe(action()), maybe(any::<bool>())),
    );
    let written = (text(), maybe(select(TextSize::ALL)), maybe(select(Color::ALL)), maybe(any::<u32>()));
    // Boxed: an unboxed union of these is too large for a test's stack.
    let captions = text().prop_map(|value| Component::Caption(Caption { value }));
    let titles = (text(), maybe(select(TitleSize::ALL)))
        .prop_map(|(value, size)| Component::Title(Title { value, size }));
    let texts = written
        .prop_map(|(value, size, color, max_lines)| Component::Text(Text { value, size, color, max_lines }));
    let badges = (text(), maybe(select(BadgeColor::ALL)))
        .prop_map(|(label, color)| Component::Badge(Badge { label, color }));
    let icons =
        (icon(), maybe(select(Color::ALL))).prop_map(|(name, color)| Component::Icon(Icon { name, color }));
    let groups = radio.prop_map(
        |((name, options, aria_label, on_change_action), (default_value, direction, disabled, required))| {
            let options = options.into_iter().map(|(label, value)| RadioOption { label, value }).collect();
            Component::RadioGroup(RadioGroup {
                name,
                options,
                aria_label,
                on_change_action,
                default_value,
                direction,
                disabled,
                required,
            })
        },
    );
    let buttons =
        button.prop_map(|((label, submit, style, variant), (icon_end, on_click_action, disabled))| {
            Component::Button(Button { label, submit, style, variant, icon_end, on_click_action, disabled })
        });
    let plain = select(vec![Component::Spacer {}, Component::Divider {}]);
    let all = [
        captions.boxed(),
        titles.boxed(),
        texts.boxed(),
        badges.boxed(),
        icons.boxed(),
        groups.boxed(),
        buttons.boxed(),
        plain.boxed(),
    ];
    proptest::strategy::Union::new(all).boxed()
}

fn layout(children: BoxedStrategy<Vec<Component>>) -> BoxedStrategy<Layout> {
    let room = (maybe(any::<u32>()), maybe(any::<u32>()), maybe(any::<u32>()));
    let looks = (maybe(select(Align::ALL)), maybe(select(Radius::ALL)), maybe(select(Color::ALL)));
    let layout =
        (children, room, looks).prop_map(|(children, (gap, padding, flex), (align, radius, background))| {
            Layout { children, align, gap, padding, radius, background, flex }
        });
    layout.boxed()
}

fn component() -> BoxedStrategy<Component> {
    let tree = leaf().prop_recursive(3, 12, 3, |inner| {
        let children = vec(inner, 0..4).boxed();
        let form = (children.clone(), action())
            .prop_map(|(children, on_submit_action)| Component::Form(Form { children, on_submit_action }));
        proptest::strategy::Union::new([
            layout(children.clone()).prop_map(Component::Row).boxed(),
            layout(children.clone()).prop_map(Component::Col).boxed(),
            layout(children).prop_map(Component::Box).boxed(),
            form.boxed(),
        ])
        .boxed()
    });
    tree.boxed()
}

/// Any card that can be built.
pub(in crate::widgets) fn card() -> impl Strategy<Value = Card> {
    (vec(component(), 0..5), maybe(select(CardSize::ALL)))
        .prop_map(|(children, size)| Card { children, size })
}

proptest! {
    #[test]
    fn built_cards_are_valid_and_without_nulls(card in card()) {
        let built = card.build();
        prop_assert_eq!(validate(built.as_value()), Ok(built.clone()));
    }
}
