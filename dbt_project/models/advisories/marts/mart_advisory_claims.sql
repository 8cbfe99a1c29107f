-- One row per claim: what a source says about an advisory, its evidence and its verdict.
with judged_claims as (

    select * from {{ ref('int_advisories__judged') }}

),

locations as (

    select * from {{ ref('int_advisories__record_locations') }}

),

claims as (

    select
        judged_claims.advisory_id,
        judged_claims.cve_id,
        judged_claims.package_name,
        judged_claims.rank::integer as rank,
        judged_claims.source,
        judged_claims.claim,
        judged_claims.verdict,
        judged_claims.rule_id,
        judged_claims.beaten_by,
        judged_claims.state,
        judged_claims.confidence,
        judged_claims.reason_code,
        judged_claims.version,
        judged_claims.ecosystem,
        judged_claims.release,
        judged_claims.detail,
        judged_claims.record_id,
        judged_claims.record_url,
        judged_claims.record_modified_at,
        judged_claims.valid_until,
        judged_claims.author,
        locations.source_sha256,
        locations.source_row,
    from judged_claims
    left join locations on judged_claims.source_record = locations.source_record

)

select * from claims
