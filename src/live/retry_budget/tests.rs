use super::*;

#[tokio::test(start_paused = true)]
async fn budget_runs_out_after_long_outage_and_success_resets_it() {
    let mut retry_budget = RetryBudget::default();
    for _ in 0..2 {
        assert!(!retry_budget.is_exhausted());
        tokio::time::advance(MAX_OUTAGE).await;
        assert!(!retry_budget.is_exhausted());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(retry_budget.is_exhausted());
        retry_budget.reset();
    }
}
