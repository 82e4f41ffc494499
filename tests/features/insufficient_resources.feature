Feature: Insufficient resources
  If resources are unavailable, the provider queues the job
  or tells the user why it never will.

  Background:
    Given a provider with room for one job
    And a user

  Rule: What no provider could ever run is refused at once, with the reason

    Scenario Outline: The refusal names the dimension and the largest offer
      When the user submits a job that wants <amount> <dimension>
      Then the command fails with exit code 125
      And the job is "refused"
      And its reason names "<named>" and "<largest>"

      Examples:
        | amount | dimension | named  | largest |
        | 64     | cpus      | CPU    | 1       |
        | 900GiB | memory    | memory | 512MiB  |
        | 900GiB | disk      | disk   | 512MiB  |

    Scenario: A price that is too high is told provider by provider
      Given a provider that asks 5 NTX
      When the user submits a job for at most 1 NTX
      Then the command fails with exit code 125
      And the bids tell the refusal of the dear provider

  Rule: What has no room now is queued, and the user is told of the delay

    Scenario: A queued job knows its position, the reason and an estimate
      Given a running job
      When the user submits another job and leaves
      Then the other job is queued with position 1, a reason and an estimate

    Scenario: A queued job starts by itself when there is room
      Given a running job
      And a queued job
      When the job is told to end
      Then the queued job completes without the user

    Scenario: A job that waited too long ends with a reason
      Given a running job
      When the user submits another job that may wait 1 second
      Then the command fails with exit code 124
      And the user is told that it waited too long
