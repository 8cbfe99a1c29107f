-- One row per advisory whose CVE record in the NVD is rejected or has a score.
-- A rejection is contested if the vendor's feed names a fixed version; tipped_by_* is its record.
with universe as (

    select * from {{ ref('int_advisories__universe') }}

),

nvd as (

    select * from {{ ref('int_advisories__nvd_merged') }}

),

nvd_claims as (

    select
        universe.advisory_id,
        'nvd' as source,
        case
            when not nvd.is_rejected then 'nvd_scored'
            when universe.vendor_version is null then 'nvd_rejected'
            else 'nvd_rejected_contested'
        end as claim,
        case
            when nvd.is_rejected then nvd.duplicate_of
            else
                nvd.cvss_score::varchar
                || coalesce(' (CVSS ' || nullif(nvd.cvss_version, '') || ')', '')
        end as detail,
        case when claim = 'nvd_rejected_contested' then 'echo' end as tipped_by_source,
        case when claim = 'nvd_rejected_contested' then universe.advisory_id end
            as tipped_by_record,
        nvd.cve_id as record_id,
        nvd.last_modified_at as record_modified_at,
        nvd.source_record,
    from universe
    inner join nvd on universe.advisory_id = nvd.advisory_id
    where nvd.is_rejected or nvd.cvss_score is not null

)

select * from nvd_claims
