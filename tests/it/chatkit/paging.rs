//! Tests pages of threads and items: in both orders and of any size, each element appears once.

use serde_json::{Value, json};
use sqlx::PgPool;
use verbatim::schema::MIGRATOR;

use super::support::{Kit, done, id_of};
use crate::support::app::TestApp;

fn ids(page: &Value) -> Vec<String> {
    page["data"].as_array().unwrap().iter().map(id_of).collect()
}

/// Returns a page after checking that its fields are consistent.
async fn page(kit: Kit<'_>, kind: &str, params: Value) -> Value {
    let page = kit.get(kind, params).await;
    let has_more = page["has_more"].as_bool().unwrap();
    let last = ids(&page).pop();
    let cursor = if has_more { last } else { None };
    assert_eq!(page.get("after").map(|after| after.as_str().unwrap().to_owned()), cursor);
    page
}

/// Returns all ids, read in pages of this size, and the number of pages.
async fn all(kit: Kit<'_>, kind: &str, params: &Value, limit: usize) -> (Vec<String>, usize) {
    let (mut seen, mut pages) = (Vec::new(), 0);
    let mut params = params.clone();
    params["limit"] = json!(limit);
    loop {
        let page = page(kit, kind, params.clone()).await;
        let found = ids(&page);
        assert!(found.len() <= limit);
        seen.extend(found);
        pages += 1;
        match page.get("after") {
            Some(after) => params["after"] = after.clone(),
            None => return (seen, pages),
        }
    }
}

/// Checks a list against the expected ids, newest first.
async fn assert_list(kit: Kit<'_>, kind: &str, params: &Value, newest_first: &[String]) {
    let with = |more: Value| {
        let mut params = params.clone();
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        params
    };
    let count = newest_first.len();
    for more in [
        json!({}),
        json!({"limit": null}),
        json!({"limit": 0}),
        json!({"limit": 20, "order": null, "after": null}),
    ] {
        let first = page(kit, kind, with(more)).await;
        assert_eq!((ids(&first).as_slice(), &first["has_more"]), (&newest_first[..20], &json!(true)));
        let rest = page(kit, kind, with(json!({"after": first["after"]}))).await;
        assert_eq!((ids(&rest).as_slice(), &rest["has_more"]), (&newest_first[20..], &json!(false)));
    }
    for limit in [1000, 100, count] {
        let whole = page(kit, kind, with(json!({"limit": limit}))).await;
        assert_eq!((ids(&whole).as_slice(), &whole["has_more"]), (newest_first, &json!(false)));
    }
    let mut oldest_first = newest_first.to_vec();
    oldest_first.reverse();
    for (order, expected) in [("desc", newest_first), ("asc", oldest_first.as_slice())] {
        for limit in [1, 5, 7, 24, 26] {
            let (seen, pages) = all(kit, kind, &with(json!({"order": order})), limit).await;
            assert_eq!(seen, expected, "{order} {limit}");
            assert_eq!(pages, count.div_ceil(limit), "{order} {limit}");
        }
        // Nothing follows the last element.
        let behind = page(kit, kind, with(json!({"order": order, "after": expected.last()}))).await;
        assert_eq!((ids(&behind).len(), &behind["has_more"]), (0, &json!(false)));
    }
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn threads_and_items_are_paged(db: PgPool) {
    let app = TestApp::with(&db, &[("CHAT_TITLES", "off")]).await;
    let (person, other) = (app.person().await, app.person().await);
    let kit = Kit::new(&app, &person);
    let empty = page(kit, "threads.list", json!({})).await;
    assert_eq!(empty, json!({"data": [], "has_more": false}));
    let mut threads = Vec::new();
    for n in 0..25 {
        threads.push(kit.create(&format!("Thread {n}")).await.0);
        Kit::new(&app, &other).create("Another user's").await;
    }
    // Changes in a thread do not change its place in the list.
    kit.add(&threads[3], "Once more").await;
    kit.get("threads.update", json!({"thread_id": threads[7], "title": "Named"})).await;
    let newest_first: Vec<String> = threads.iter().rev().cloned().collect();
    assert_list(kit, "threads.list", &json!({}), &newest_first).await;
    let list = page(kit, "threads.list", json!({})).await;
    for thread in list["data"].as_array().unwrap() {
        assert_eq!(thread["items"], json!({"data": [], "has_more": false}));
    }

    let (thread, mut events) = kit.create("Message 0").await;
    for n in 1..13 {
        events.extend(kit.add(&thread, &format!("Message {n}")).await);
    }
    // Hidden notes, in between and as the newest item, change no page.
    let widget = super::sequences::WIDGET;
    let shown = kit.create(widget).await;
    let of = json!({"thread_id": thread});
    let mut items: Vec<String> = events
        .iter()
        .filter(|event| event["type"] == "thread.item.done")
        .map(|event| id_of(&event["item"]))
        .collect();
    items.reverse();
    assert_eq!(items.len(), 26);
    assert_list(kit, "items.list", &of, &items).await;

    // A thread fetched by id contains its first twenty items; the list continues from there.
    let by_id = kit.get("threads.get_by_id", of.clone()).await;
    let first = &by_id["items"];
    assert_eq!((ids(first).len(), &first["has_more"]), (20, &json!(true)));
    let rest = json!({"thread_id": thread, "order": "asc", "after": first["after"]});
    let rest = page(kit, "items.list", rest).await;
    let both: Vec<String> = ids(first).into_iter().chain(ids(&rest)).rev().collect();
    assert_eq!(both, items);

    let (thread, widget) = (shown.0, id_of(done(&shown.1, "widget")[0]));
    for _ in 0..3 {
        kit.act(&thread, &widget, "pressed", json!({})).await;
    }
    kit.add(&thread, "And now?").await;
    kit.act(&thread, &widget, "pressed", json!({})).await;
    app.wait_for_projections().await;
    let of = json!({"thread_id": thread, "order": "asc"});
    let (seen, pages) = all(kit, "items.list", &of, 2).await;
    assert_eq!((seen.len(), pages), (4, 2));

    // A cursor stays valid although its item is on an inactive branch by now.
    let asked = id_of(&kit.items(&thread).await[0]);
    kit.stream("threads.retry_after_item", json!({"thread_id": thread, "item_id": asked})).await;
    let behind = json!({"thread_id": thread, "order": "asc", "after": seen[1]});
    assert_eq!(ids(&page(kit, "items.list", behind).await).len(), 1);
    app.end().await;
}
