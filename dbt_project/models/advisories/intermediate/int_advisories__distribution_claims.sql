-- One row per advisory and upstream source: the verdict over the target releases, as a claim.
-- A fix counts as unproven because of the vendor's newest version; tipped_by_* names its record.
with universe as (

    select * from {{ ref('int_advisories__universe') }}

),

verdicts as (

    select * from {{ ref('int_advisories__release_verdicts') }}

),

vendor_newest as (

    select * from {{ ref('int_advisories__vendor_newest') }}

),

claim_sources as (

    select * from {{ ref('claim_sources') }}

),

upstream_claims as (

    select
        verdicts.advisory_id,
        verdicts.source,
        claim_sources.verdict_prefix || '_' || verdicts.verdict as claim,
        verdicts.fixed_version as version,
        verdicts.release,
        verdicts.release_label,
        verdicts.release_labels as detail,
        verdicts.newest_open_rank,
        verdicts.ecosystem,
        case when verdicts.verdict = 'fixed_unproven' then 'echo' end as tipped_by_source,
        case when verdicts.verdict = 'fixed_unproven' then vendor_newest.newest_record end
            as tipped_by_record,
        verdicts.record_id,
        verdicts.record_modified_at,
        verdicts.source_record,
    from verdicts
    inner join universe on verdicts.advisory_id = universe.advisory_id
    inner join claim_sources on verdicts.source = claim_sources.source
    left join vendor_newest on universe.package_key = vendor_newest.package_key

)

select * from upstream_claims
